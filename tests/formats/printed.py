"""What tools print, for tests of their readers: recorded pieces in tests/data, and lines made up after public reports.

Made up, as no such tool runs here: everything of sysdig's and Falco's, bcc's, and what is called so below.
"""

# ruff: noqa: E501 - lines are as long as tools print them

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parents[1] / "data"

#: Recorded, each with its format: perf 6.1, bpftrace 0.17, libbpf-tools 0.26, babeltrace 1.5 and 2.0 of an LTTng trace.
RECORDED = {
    "perf_trace_lost.txt": "perf-trace",
    "bpftrace_lost.txt": "bpf",
    "bpftrace_lost.jsonl": "bpf",
    "opensnoop_lost.txt": "bpf",
    "babeltrace1_lost.txt": "babeltrace",
    "babeltrace2_lost.txt": "babeltrace",
}

SYSDIG = """\
5352209 11:54:08.853479695 0 ssh-agent (13314) > getrlimit
5352210 11:54:08.853481094 0 ssh-agent (13314) < getrlimit res=0 cur=1024 max=4096
5352211 11:54:08.853482049 1 two words (77:7) > close fd=3(<f>/etc/passwd)
5352212 11:54:08.853483000 0 ssh-agent (13314) > switch next=0 pgft_maj=0
"""
DROP = "5352213 11:54:08.853484000 1 <NA> (0) > drop ratio=2\n"
AFTER_DROP = "5352214 11:54:08.853494000 1 two words (77:7) < close res=0\n"
SUMMARY = "Driver Events:{}\nDriver Drops:{}\nElapsed time: 0.004, Captured Events: 6, 224.62 eps\n"
FALCO_LOG = "Tue May 21 12:55:58 2019: Falco internal: syscall event drop. 7 system calls dropped in last second.\n"
FALCO_ALERT = (
    "12:55:58.461500387: Critical Falco internal: syscall event drop. 7 system calls dropped in last second."
    "(ebpf_enabled=0 n_drops=7 n_drops_buffer=7 n_drops_bug=0 n_drops_pf=0 n_evts=33814)\n"
)
FALCO_EVENT = "13:00:47.102841198: Notice Network tool launched in container (user=root command=nc)\n"
FALCO_JSON = (
    '{"output":"Falco internal: syscall event drop. 2 system calls dropped in last second.","output_fields":'
    '{"ebpf_enabled":"1","n_drops":"2","n_evts":"15121"},"priority":"Critical","rule":"Falco internal: syscall event '
    'drop","time":"2020-09-14T07:43:15.949941061Z"}\n'
)
FALCO_ALERT_JSON = (
    '{"output":"Shell in a container","output_fields":{},"priority":"Notice","rule":"Terminal shell in container",'
    '"time":"2020-09-14T07:43:16.000000001Z"}\n'
)
FALCO_METRICS = (
    '{"output":"Falco internal: metrics snapshot","output_fields":{"scap.n_evts":48219337,"scap.n_drops":%d},'
    '"priority":"Informational","rule":"Falco internal: metrics snapshot","time":"2026-08-05T15:00:00Z"}\n'
)
SYSDIG_JSON = (
    '{"evt.cpu":1,"evt.dir":">","evt.info":"fd=3","evt.num":4,"evt.outputtime":1600000000000000001,"evt.type":"read",'
    '"proc.name":"cat","thread.tid":7}\n'
)
BCC = """\
Tracing fsyncs... Hit Ctrl-C to end
TIME(s)     COMM           PID    DISK    T SECTOR     BYTES  LAT(ms)
0.000000    supervise      1950   xvda1   W 13092560   4096      0.74
Possibly lost 10 samples
0.000054    supervise      1950   xvda1   W 13092432   4096      0.85
"""
EXECSNOOP = """\
PCOMM            PID    PPID   RET ARGS
bash             15887  7727     0 /usr/bin/man ls
Possibly lost 3 samples
preconv          15894  15887    0 /usr/bin/preconv -e UTF-8
"""
TRACE_CPU = """\
TIME     CPU  PID     TID     COMM            FUNC
1.505114 11   7       8       swapper/11      sched_switch
1.505150 0    7       8       swapper/0       sched_switch
Lost 5 events on CPU #11!
1.505151 11   7       8       swapper/11      sched_switch
"""
KERNEL = """\
[12:34:56.000000001] (+?.?????????) host syscall_entry_openat: { cpu_id = 1 }, { procname = "cat", tid = 7 }, { dfd = -100, tid = 9 }
[12:34:56.000000011] (+0.000000010) host syscall_exit_openat: { cpu_id = 1 }, { procname = "cat", tid = 7 }, { ret = 3 }
[12:34:56.000000021] (+0.000000010) host sched_switch: { cpu_id = 0 }, { procname = "cat", tid = 7 }, { prev_comm = "cat", prev_tid = 7 }
[12:34:56.000000031] (+0.000000010) host:app:123 my:event: { cpu_id = 0 }, { }
"""
PERF_TRACE = """\
         ? (         ): cat/30186  ... [continued]: execve())                                           = 0
     0.032 ( 0.001 ms): cat/30186 brk()                                                                 = 0x561f08cb1000
     0.040 (         ): a b/c/7 read(fd: 3, buf: 0x1)                                                  ...
     0.041 (         ): cat/30186 sched:sched_switch(prev_comm: "cat", prev_pid: 30186 (cat))
LOST 12 events!
     0.040 ( 0.010 ms): a b/c/7  ... [continued]: read())                                               = 1
     0.164 ( 0.000 ms): cat/30186 minfault [strlen+0x0] => /usr/lib/ld.so@0x23aa0 (d.)
     0.170 (         ): cat/30186 syscalls:sys_enter_close(fd: 3)
"""
NO_COMM = """\
     0.148 ( 0.003 ms): access(filename: 0xa9a062a0, mode: R)                                 = -1 ENOENT (No such file or directory)
     0.155 ( 0.003 ms): openat(dfd: CWD, filename: 0xa9a050b1, flags: RDONLY|CLOEXEC)         = 4
"""

#: Ten of each format, to be damaged.
SEEDS: dict[str, list[str]] = {
    "sysdig": [
        SYSDIG,
        SYSDIG + DROP + AFTER_DROP,
        SYSDIG + SUMMARY.format(6, 0),
        DROP + SYSDIG + SUMMARY.format(6, 12),
        SYSDIG_JSON * 3,
        f"[{SYSDIG_JSON},{SYSDIG_JSON}]",
        FALCO_LOG + FALCO_ALERT + FALCO_EVENT,
        FALCO_JSON + FALCO_ALERT_JSON + FALCO_LOG,
        FALCO_METRICS % 3 + FALCO_EVENT + "Syscall event drop monitoring:\n   - event drop detected: 3 occurrences\n",
        SYSDIG.replace("11:54:08.8534", "0.0000"),
    ],
    "bpf": [
        BCC,
        EXECSNOOP,
        TRACE_CPU,
        "Attaching 1 probe...\nhello\nLost 4 events\n\n\n@c: 6574\n",
        "Lost 3092 events on CPU #0!\nLost 1171 events on CPU #1!\n",
        '{"type": "lost_events", "count": 3, "data": {"events": 3}}\n{"type": "printf", "data": "a"}\n',
        *((DATA / name).read_text() for name in ("bpftrace_lost.txt", "bpftrace_lost.jsonl", "opensnoop_lost.txt")),
        (DATA / "opensnoop_lost.txt").read_text().replace("10:05:20", "23:59:59"),
    ],
    "perf-trace": [
        PERF_TRACE,
        NO_COMM,
        "LOST 5 events!\n" * 3 + PERF_TRACE,
        PERF_TRACE + "LOST 5 events!\n",
        PERF_TRACE.replace("LOST 12", "\x1b[31mLOST 12") + "\x1b[mProcessed 9 events and lost 3 chunks!\n",
        PERF_TRACE + "\n Summary of events:\n\n ls (594), 288 events, 97.3%\n",
        NO_COMM + PERF_TRACE,
        "".join(reversed(PERF_TRACE.splitlines(keepends=True))),
        (DATA / "perf_trace_lost.txt").read_text(),
        (DATA / "perf_trace_lost.txt").read_text().replace("     0.", "14701930."),
    ],
    "babeltrace": [
        KERNEL,
        KERNEL.replace("12:34:56", "1600000000"),
        KERNEL.replace("12:34:56", "2020-02-29 23:59:59"),
        KERNEL.replace("[12:34:56.", "[00000014866").replace(" (+0.000000010)", ""),
        KERNEL + "[warning] Tracer lost 2 trace packets between [12:34:56.000000011] and [12:34:56.000000021] in trace "
        'UUID 5, at path: "k", within stream id 0, at relative path: "channel0_1".\n',
        KERNEL + "[warning] Tracer discarded 2 events at end of stream between [12:34:56.000000011] and "
        "[12:34:56.000000021]. You should consider recording a new trace.\n",
        "[warning] Tracer discarded 18446744073709549272 events between [1.0] and [2.0]\n" + KERNEL,
        "timestamp = 12:34:56.000000001, delta = +0.000000001, trace:hostname = vm, name = demo:tick, "
        "stream.packet.context = { cpu_id = 1 }, event.fields = { n = 0 }\n" * 3,
        *((DATA / f"babeltrace{n}_lost.txt").read_text() for n in (1, 2)),
    ],
}
