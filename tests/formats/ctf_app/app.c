#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "tp.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static int total;
static void *work(void *arg) {
  int list[8] = {1, -2, 3, -4, 5, -6, 7, -8};
  for (int n = 0; n < total; n++) {
    lttng_ust_tracepoint(demo, tick, n);
    if (n % 4 == 0) lttng_ust_tracepoint(demo, all, n, "hello, \"world\"\n", list, n % 8, n / 7.0 - 3);
    if (n % 997 == 0) usleep(200);
  }
  return arg;
}
int main(int argc, char **argv) {
  pthread_t t[4];
  int threads = argc > 2 ? atoi(argv[2]) : 2;
  total = argc > 1 ? atoi(argv[1]) : 1000;
  for (int i = 0; i < threads; i++) pthread_create(&t[i], 0, work, 0);
  for (int i = 0; i < threads; i++) pthread_join(t[i], 0);
  return 0;
}
