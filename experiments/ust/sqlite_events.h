#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER sqlite
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./sqlite_events.h"
#if !defined(SQLITE_EVENTS_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define SQLITE_EVENTS_H
#include <lttng/tracepoint.h>
#include "events.h"
EVENT(sqlite, statement_entry)
EVENT(sqlite, statement_exit)
EVENT(sqlite, row)
EVENT(sqlite, open)
EVENT(sqlite, close)
EVENT(sqlite, delete)
EVENT(sqlite, access)
EVENT(sqlite, read_entry)
EVENT(sqlite, read_exit)
EVENT(sqlite, write_entry)
EVENT(sqlite, write_exit)
EVENT(sqlite, truncate)
EVENT(sqlite, sync)
EVENT(sqlite, size)
EVENT(sqlite, lock)
EVENT(sqlite, unlock)
EVENT(sqlite, reserved)
EVENT(sqlite, control)
EVENT(sqlite, busy)
#endif
#include <lttng/tracepoint-event.h>
