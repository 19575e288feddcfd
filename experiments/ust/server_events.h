#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER server
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./server_events.h"
#if !defined(SERVER_EVENTS_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define SERVER_EVENTS_H
#include <lttng/tracepoint.h>
#include "events.h"
EVENT(server, accept)
EVENT(server, readable)
EVENT(server, received)
EVENT(server, closed)
EVENT(server, enqueue)
EVENT(server, wait)
EVENT(server, dequeue)
EVENT(server, parse_entry)
EVENT(server, parse_exit)
EVENT(server, refuse)
EVENT(server, lock)
EVENT(server, unlock)
EVENT(server, hit)
EVENT(server, miss)
EVENT(server, insert)
EVENT(server, replace)
EVENT(server, remove)
EVENT(server, evict)
EVENT(server, scan_step)
EVENT(server, reply_entry)
EVENT(server, reply_exit)
EVENT(server, client_send)
EVENT(server, client_receive)
#endif
#include <lttng/tracepoint-event.h>
