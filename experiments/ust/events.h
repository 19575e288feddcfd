/* Tracepoints that have a number each: a program's own .h lists them by EVENT(provider, name), behind this one.

   An event class of one number is all that is wanted here: what a program does, and in which order, is in the names. */
#ifndef EVENT
#define EVENT(provider, name) \
  LTTNG_UST_TRACEPOINT_EVENT(provider, name, LTTNG_UST_TP_ARGS(long, number), \
                             LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(long, number, number)))
#endif
