#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER demo
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./tp.h"
#if !defined(_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define _TP_H
#include <lttng/tracepoint.h>
LTTNG_UST_TRACEPOINT_ENUM(demo, kind, LTTNG_UST_TP_ENUM_VALUES(
  lttng_ust_field_enum_value("ZERO", 0) lttng_ust_field_enum_value("ONE", 1) lttng_ust_field_enum_range("MANY", 2, 99)))
LTTNG_UST_TRACEPOINT_EVENT(demo, all,
  LTTNG_UST_TP_ARGS(int, n, const char *, text, const int *, list, size_t, count, double, real),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer(int, n, n)
    lttng_ust_field_integer_hex(unsigned long, hex, (unsigned long) n * 0x123456789ULL)
    lttng_ust_field_integer_network(unsigned short, net, n)
    lttng_ust_field_float(double, real, real)
    lttng_ust_field_float(float, single, (float) real)
    lttng_ust_field_string(text, text)
    lttng_ust_field_array(int, three, list, 3)
    lttng_ust_field_array_text(char, word, text, 4)
    lttng_ust_field_sequence(int, seq, list, size_t, count)
    lttng_ust_field_sequence_text(char, said, text, size_t, count)
    lttng_ust_field_enum(demo, kind, int, kind, n % 120)
  ))
LTTNG_UST_TRACEPOINT_EVENT(demo, tick, LTTNG_UST_TP_ARGS(int, n), LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(int, n, n)))
#endif
#include <lttng/tracepoint-event.h>
