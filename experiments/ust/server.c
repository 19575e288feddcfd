/* A small key-value server with tracepoints: one thread waits for sockets, workers answer, clients ask from threads.

   server RUN: other clients, mixtures of requests and sizes of the store for each run. */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "server_events.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#define T(name, number) lttng_ust_tracepoint(server, name, (long) (number))
enum { WORKERS = 2, MOST = 64, BUCKETS = 64 };

typedef struct { int socket; char text[64]; } Request;
static Request queue[MOST];
static int first, waiting, over;
static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queue_more = PTHREAD_COND_INITIALIZER;

typedef struct Item { struct Item *next; long key, used; } Item;
static Item *store[BUCKETS];
static long held, clock_now, most_held;
static pthread_mutex_t store_lock = PTHREAD_MUTEX_INITIALIZER;

static Item **slot(long key) {
  Item **at = &store[key % BUCKETS];
  while (*at && (*at)->key != key) { T(scan_step, (*at)->key); at = &(*at)->next; }
  return at;
}
static void evict(void) {
  Item **oldest = 0;
  for (int b = 0; b < BUCKETS; b++)
    for (Item **at = &store[b]; *at; at = &(*at)->next)
      if (!oldest || (*at)->used < (*oldest)->used) oldest = at;
  Item *gone = *oldest;
  T(evict, gone->key);
  *oldest = gone->next;
  free(gone);
  held--;
}

static void answer(Request *r) {
  char kind = 0, said[64] = "";
  long key = -1;
  T(parse_entry, r->socket);
  int fields = sscanf(r->text, "%c %ld", &kind, &key);
  T(parse_exit, fields);
  if (fields < 2 || key < 0) { T(refuse, r->socket); strcpy(said, "bad"); kind = 0; }
  if (kind) {
    pthread_mutex_lock(&store_lock);
    T(lock, key);
    if (kind == 'S')  /* how many items have a key below this one? */
      for (int b = 0; b < BUCKETS; b++)
        for (Item *i = store[b]; i; i = i->next) if (i->key < key) T(scan_step, i->key);
    Item **at = slot(key);
    strcpy(said, *at ? "found" : "none");
    if (*at) { T(hit, key); (*at)->used = ++clock_now; } else T(miss, key);
    if (kind == 'P' && *at) T(replace, key);
    else if (kind == 'P') {
      if (held >= most_held) { evict(); at = slot(key); }
      T(insert, key);
      Item *new = calloc(1, sizeof *new);
      new->key = key, new->used = ++clock_now;
      *at = new;
      held++;
    } else if (kind == 'D' && *at) {
      T(remove, key);
      Item *gone = *at;
      *at = gone->next;
      free(gone);
      held--;
    }
    T(unlock, key);
    pthread_mutex_unlock(&store_lock);
  }
  T(reply_entry, r->socket);
  ssize_t sent = send(r->socket, said, sizeof said, MSG_NOSIGNAL);
  T(reply_exit, sent);
}

static void *worker(void *arg) {
  for (;;) {
    pthread_mutex_lock(&queue_lock);
    while (!waiting && !over) { T(wait, 0); pthread_cond_wait(&queue_more, &queue_lock); }
    if (!waiting) { pthread_mutex_unlock(&queue_lock); return arg; }
    Request r = queue[first];
    first = (first + 1) % MOST, waiting--;
    T(dequeue, waiting);
    pthread_mutex_unlock(&queue_lock);
    answer(&r);
  }
}

static int run, requests = 500;
static void *client(void *arg) {
  int socket = (int) (long) arg;
  unsigned seed = 17 * (unsigned) run + (unsigned) socket;
  char text[64];
  for (int n = 0; n < requests; n++) {
    int dice = rand_r(&seed) % 20, put = 6 + 3 * run;
    int range = rand_r(&seed) % 4 ? 60 : 400;
    long key = rand_r(&seed) % range;
    memset(text, 0, sizeof text);
    snprintf(text, sizeof text, dice == 0 ? "?" : "%c %ld", dice < 3 ? 'S' : dice < put ? 'P' : dice < put + 2 ? 'D' : 'G', key);
    T(client_send, key);
    if (send(socket, text, sizeof text, MSG_NOSIGNAL) < 0 || recv(socket, text, sizeof text, MSG_WAITALL) <= 0) break;
    T(client_receive, key);
    if (n % 100 == 99) usleep(2000);
  }
  close(socket);
  return 0;
}

int main(int argc, char **argv) {
  run = argc > 1 ? atoi(argv[1]) : 0;
  most_held = 40 + 25 * run;
  int clients = 3 + run, open = 0, poll = epoll_create1(0), ends[2];
  pthread_t pool[WORKERS], asking[16];
  for (int i = 0; i < WORKERS; i++) pthread_create(&pool[i], 0, worker, 0);
  for (int i = 0; i < clients; i++, open++) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return 1;
    struct epoll_event wanted = {EPOLLIN, {.fd = ends[0]}};
    epoll_ctl(poll, EPOLL_CTL_ADD, ends[0], &wanted);
    T(accept, ends[0]);
    pthread_create(&asking[i], 0, client, (void *) (long) ends[1]);
  }
  while (open) {
    struct epoll_event ready[16];
    int count = epoll_wait(poll, ready, 16, -1);
    for (int i = 0; i < count; i++) {
      Request r = {ready[i].data.fd, ""};
      T(readable, r.socket);
      if (recv(r.socket, r.text, sizeof r.text, MSG_WAITALL) <= 0) { T(closed, r.socket); close(r.socket); open--; continue; }
      T(received, r.socket);
      pthread_mutex_lock(&queue_lock);
      queue[(first + waiting) % MOST] = r;  /* a client waits for its answer: there are never more than clients */
      waiting++;
      T(enqueue, waiting);
      pthread_cond_signal(&queue_more);
      pthread_mutex_unlock(&queue_lock);
    }
  }
  pthread_mutex_lock(&queue_lock);
  over = 1;
  pthread_cond_broadcast(&queue_more);
  pthread_mutex_unlock(&queue_lock);
  for (int i = 0; i < WORKERS; i++) pthread_join(pool[i], 0);
  for (int i = 0; i < clients; i++) pthread_join(asking[i], 0);
  return 0;
}
