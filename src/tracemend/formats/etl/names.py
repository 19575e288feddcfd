"""Names of the events that Windows' kernel writes, and of events that bring their names along (TraceLogging).

The kernel's events have a group and a type, its classic providers a GUID for each group. Both are documented with the
NT kernel logger's classes ("Event Tracing MOF Classes").
"""

from __future__ import annotations

from uuid import UUID

_PROCESS = "3d6fa8d{}-fe05-11d0-9dda-00c04fd7ba7c"
#: Names of the kernel's groups, and the GUID of each one's classic provider.
GROUPS: dict[int, tuple[str, str]] = {
    0x00: ("EventTrace", "68fdd900-4a3e-11d1-84f4-0000f80464e3"),
    0x01: ("DiskIo", _PROCESS.format(4)),
    0x02: ("PageFault", _PROCESS.format(3)),
    0x03: ("Process", _PROCESS.format(0)),
    0x04: ("FileIo", "90cbdc39-4a3e-11d1-84f4-0000f80464e3"),
    0x05: ("Thread", _PROCESS.format(1)),
    0x06: ("TcpIp", "9a280ac0-c8e0-11d1-84e2-00c04fb998a2"),
    0x07: ("Job", "3282fc76-feed-498e-8aa7-e70f459d430e"),
    0x08: ("UdpIp", "bf3a50c5-a9c9-4988-a005-2df0b7c80f80"),
    0x09: ("Registry", "ae53722e-c863-11d2-8659-00c04fa321a1"),
    0x0A: ("DbgPrint", "13976d09-a327-438c-950b-7f03192815c7"),
    0x0B: ("SystemConfig", "01853a65-418f-4f36-aefc-dc0f1d2fd235"),
    0x0E: ("Pool", "0268a8b6-74fd-4302-9dd0-6e8f1795c0cf"),
    0x0F: ("PerfInfo", "ce1dbfb4-137e-4da6-87b0-3f59aa102cbc"),
    0x10: ("Heap", "222962ab-6180-4b88-a825-346b75f2a24a"),
    0x11: ("Object", "89497f50-effe-4440-8cf2-ce6b1cdcaca7"),
    0x12: ("Power", "e43445e0-0903-48c3-b878-ff0fccebdd04"),
    0x14: ("Image", "2cb15d1d-5fc1-11d2-abe1-00a0c911f518"),
    0x17: ("CritSec", "3ac66736-cc59-4cff-8115-8df50e39816b"),
    0x18: ("StackWalk", "def2fe46-7bd6-4b80-bd94-f57fe20d0ce3"),
    0x1A: ("ALPC", "45d8cccd-539f-4b72-a8b7-5c683142609a"),
    0x1B: ("SplitIo", "d837ca92-12b9-44a5-ad6a-3a65b3578aa8"),
    0x1C: ("ThreadPool", "c861d0e2-a2c1-4d36-9f9c-970bab943a12"),
}
LOST = "RT_LostEvent"
#: Classic providers by their GUID.
CLASSES: dict[UUID, str] = {
    **{UUID(guid): name for name, guid in GROUPS.values()},
    UUID("6a399ae0-4bc6-4de9-870b-3657f8947e7e"): LOST,
}
_SPANS = {1: "Start", 2: "End", 3: "DCStart", 4: "DCEnd"}
_NET = {10: "Send", 11: "Recv", 12: "Connect", 13: "Disconnect", 14: "Retransmit", 15: "Accept", 16: "Reconnect"}
#: Names of types by the group's name.
TYPES: dict[str, dict[int, str]] = {
    "EventTrace": {0: "Header", 5: "Extension", 8: "RDComplete"},
    "DiskIo": dict(enumerate(("Read", "Write", "ReadInit", "WriteInit", "FlushBuffers", "FlushInit"), 10)),
    "PageFault": {
        **dict(enumerate(("Transition", "DemandZero", "CopyOnWrite", "GuardPage", "HardPage", "AccessViolation"), 10)),
        32: "HardFault",
        98: "VirtualAlloc",
        99: "VirtualFree",
        105: "ImageLoadBacked",
    },
    "Process": {**_SPANS, 11: "Terminate", 32: "PerfCtr", 33: "PerfCtrRundown", 39: "Defunct"},
    "FileIo": {
        **{0: "Name", 32: "FileCreate", 35: "FileDelete", 36: "FileRundown", 37: "MapFile", 38: "UnmapFile"},
        **dict(enumerate(("Create", "Cleanup", "Close", "Read", "Write", "SetInfo", "Delete", "Rename"), 64)),
        **dict(enumerate(("DirEnum", "Flush", "QueryInfo", "FSControl", "OperationEnd", "DirNotify"), 72)),
    },
    "Thread": {**_SPANS, 36: "CSwitch", 48: "SetPriority", 49: "SetBasePriority", 50: "ReadyThread"},
    "TcpIp": {**_NET, 17: "Fail", 18: "Copy", **{t + 16: f"{n}IPV6" for t, n in _NET.items()}, 34: "CopyIPV6"},
    "UdpIp": {10: "Send", 11: "Recv", 17: "Fail", 26: "SendIPV6", 27: "RecvIPV6"},
    "Registry": dict(
        enumerate(
            (
                *("Create", "Open", "Delete", "Query", "SetValue", "DeleteValue", "QueryValue", "EnumerateKey"),
                *("EnumerateValueKey", "QueryMultipleValue", "SetInformation", "Flush", "KCBCreate", "KCBDelete"),
                *("KCBRundownBegin", "KCBRundownEnd", "Virtualize", "Close"),
            ),
            10,
        )
    ),
    "PerfInfo": {
        **{46: "SampleProf", 50: "ISR-MSI", 51: "SysClEnter", 52: "SysClExit"},
        **{66: "ThreadDPC", 67: "ISR", 68: "DPC", 69: "TimerDPC"},
    },
    "Image": {2: "UnLoad", 3: "DCStart", 4: "DCEnd", 10: "Load"},
    "StackWalk": {32: "Stack"},
    "ALPC": dict(enumerate(("SendMessage", "ReceiveMessage", "WaitForReply", "WaitForNewMessage", "Unwait"), 33)),
    LOST: {32: "RTLostEvent", 33: "RTLostBuffer", 34: "RTLostFile"},
}
#: Types of the extended data that have a TraceLogging event's own name and its provider's.
EVENT_NAME, PROVIDER_NAME = 11, 12


def kernel(group: int, type: int) -> str:
    """The name of a kernel's event (``Thread/CSwitch``)."""
    return _typed(GROUPS[group][0] if group in GROUPS else f"Group{group:#04x}", type)


def classic(guid: bytes, type: int) -> str:
    """The name of an event of a classic provider."""
    return _typed(CLASSES.get(UUID(bytes_le=guid)) or braced(guid), type)


def _typed(provider: str, type: int) -> str:
    return f"{provider}/{TYPES.get(provider, {}).get(type, type)}"


def described(guid: bytes, number: int) -> str:
    """The name of an event that a manifest describes: its provider and number."""
    return f"{braced(guid)}/{number}"


def braced(guid: bytes) -> str:
    """A GUID as Windows writes it."""
    return f"{{{UUID(bytes_le=guid)}}}"


def told(extended: bytes, guid: bytes) -> str | None:
    """The name that a TraceLogging event's extended data tell, None if they don't. Whatever the bytes are."""
    event, provider, at = "", braced(guid), 0
    while at + 8 <= len(extended):
        kind = int.from_bytes(extended[at + 2 : at + 4], "little")
        more = extended[at + 4] & 1
        data = extended[at + 8 : at + 8 + int.from_bytes(extended[at + 6 : at + 8], "little")]
        if kind == EVENT_NAME:
            behind = 2  # its size; then tags, of which each but the last has its highest bit set
            while behind < len(data) and data[behind] & 0x80:
                behind += 1
            event = _text(data[behind + 1 :])
        elif kind == PROVIDER_NAME:
            provider = _text(data[2:]) or provider
        if not more:
            break
        at += 8 + (len(data) + 7 & ~7)
    return f"{provider}/{event}" if event else None


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "replace")
