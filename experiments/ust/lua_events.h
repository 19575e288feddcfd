#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER lua
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./lua_events.h"
#if !defined(LUA_EVENTS_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define LUA_EVENTS_H
#include <lttng/tracepoint.h>
#include "events.h"
EVENT(lua, call)
EVENT(lua, tail_call)
EVENT(lua, return)
EVENT(lua, library_entry)
EVENT(lua, library_exit)
EVENT(lua, new_string)
EVENT(lua, new_table)
EVENT(lua, new_function)
EVENT(lua, new_thread)
EVENT(lua, new_other)
EVENT(lua, grow)
EVENT(lua, shrink)
EVENT(lua, free)
#endif
#include <lttng/tracepoint-event.h>
