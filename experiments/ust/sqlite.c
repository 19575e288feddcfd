/* SQLite with tracepoints at its file system and its statements: the real library does the work, from several threads.

   sqlite RUN: 0 inserts and indexes, 1 updates of several writers, 2 joins and sorts that spill, 3 deletes and vacuum. */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "sqlite_events.h"
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define T(name, number) lttng_ust_tracepoint(sqlite, name, (long) (number))

typedef struct { sqlite3_file base; sqlite3_file *real; } File;
static sqlite3_vfs *real_vfs;
#define REAL(f) (((File *) (f))->real)
#define DO(f, method, ...) REAL(f)->pMethods->method(REAL(f), ##__VA_ARGS__)

static int f_close(sqlite3_file *f) { T(close, 0); int e = DO(f, xClose); free(REAL(f)); return e; }
static int f_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at) {
  T(read_entry, n); int e = DO(f, xRead, to, n, at); T(read_exit, e); return e;
}
static int f_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at) {
  T(write_entry, n); int e = DO(f, xWrite, from, n, at); T(write_exit, e); return e;
}
static int f_truncate(sqlite3_file *f, sqlite3_int64 n) { T(truncate, n); return DO(f, xTruncate, n); }
static int f_sync(sqlite3_file *f, int flags) { T(sync, flags); return DO(f, xSync, flags); }
static int f_size(sqlite3_file *f, sqlite3_int64 *n) { T(size, 0); return DO(f, xFileSize, n); }
static int f_lock(sqlite3_file *f, int how) { T(lock, how); return DO(f, xLock, how); }
static int f_unlock(sqlite3_file *f, int how) { T(unlock, how); return DO(f, xUnlock, how); }
static int f_reserved(sqlite3_file *f, int *out) { T(reserved, 0); return DO(f, xCheckReservedLock, out); }
static int f_control(sqlite3_file *f, int what, void *arg) { T(control, what); return DO(f, xFileControl, what, arg); }
static int f_sector(sqlite3_file *f) { return DO(f, xSectorSize); }
static int f_device(sqlite3_file *f) { return DO(f, xDeviceCharacteristics); }
static const sqlite3_io_methods methods = {1, f_close, f_read, f_write, f_truncate, f_sync, f_size, f_lock, f_unlock,
                                           f_reserved, f_control, f_sector, f_device};

static int v_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out) {
  T(open, flags);
  sqlite3_file *real = calloc(1, real_vfs->szOsFile);
  int e = real_vfs->xOpen(real_vfs, name, real, flags, out);
  REAL(f) = real;
  f->pMethods = real->pMethods ? &methods : 0;
  if (!f->pMethods) free(real);
  return e;
}
static int v_delete(sqlite3_vfs *v, const char *name, int s) { T(delete, s); return real_vfs->xDelete(real_vfs, name, s); }
static int v_access(sqlite3_vfs *v, const char *name, int how, int *out) {
  T(access, how); return real_vfs->xAccess(real_vfs, name, how, out);
}

static int traced(unsigned what, void *context, void *statement, void *more) {
  if (what == SQLITE_TRACE_STMT) T(statement_entry, 0);
  else if (what == SQLITE_TRACE_ROW) T(row, 0);
  else T(statement_exit, *(sqlite3_int64 *) more);
  return 0;
}
static int busy(void *context, int times) { T(busy, times); return times < 1000 ? (sqlite3_sleep(1), 1) : 0; }

static sqlite3 *opened(void) {
  sqlite3 *db;
  if (sqlite3_open("data.db", &db)) { fprintf(stderr, "%s\n", sqlite3_errmsg(db)); exit(1); }
  sqlite3_busy_handler(db, busy, 0);
  sqlite3_trace_v2(db, SQLITE_TRACE_STMT | SQLITE_TRACE_ROW | SQLITE_TRACE_PROFILE, traced, 0);
  sqlite3_exec(db, "PRAGMA cache_size=40; PRAGMA synchronous=OFF", 0, 0, 0);
  return db;
}
static void sql(sqlite3 *db, const char *text, ...) {
  va_list values;
  va_start(values, text);
  char *said = sqlite3_vmprintf(text, values);
  va_end(values);
  sqlite3_exec(db, said, 0, 0, 0);
  sqlite3_free(said);
}

static int run;
static void *work(void *arg) {
  unsigned seed = 1 + 7 * run + (unsigned) (long) arg;
  sqlite3 *db = opened();
  for (int n = 0; n < 150; n++) {
    int key = rand_r(&seed) % 3000, kind = rand_r(&seed) % 8;
    if (run == 0 || kind == 0) {
      sql(db, "BEGIN IMMEDIATE");
      for (int i = 0; i < 4 + kind; i++) sql(db, "INSERT INTO item VALUES (NULL, %d, hex(randomblob(%d)))", key + i, 20 + 9 * kind);
      sql(db, kind == 7 ? "ROLLBACK" : "COMMIT");
    } else if (run == 1 || kind == 1) {
      sql(db, "UPDATE item SET owner = owner + 1 WHERE id BETWEEN %d AND %d", key, key + kind);
      if (kind > 5) sql(db, "SELECT count(*) FROM item WHERE owner = %d", key % 200);
    } else if (run == 2) {
      if (kind < 6) sql(db, "SELECT i.id, o.name FROM item i JOIN owner o ON o.id = i.owner WHERE i.id > %d LIMIT %d", key, 2 * kind);
      else sql(db, "SELECT owner, max(text) FROM item WHERE id > %d GROUP BY owner ORDER BY 2 LIMIT 5", key);
    } else {
      sql(db, "DELETE FROM item WHERE id BETWEEN %d AND %d", key, key + 3 * kind);
      if (n % 60 == 59) sql(db, "VACUUM");
    }
  }
  sqlite3_close(db);
  return 0;
}

int main(int argc, char **argv) {
  run = argc > 1 ? atoi(argv[1]) : 0;
  sqlite3_initialize();
  real_vfs = sqlite3_vfs_find(0);
  sqlite3_vfs vfs = *real_vfs;
  vfs.iVersion = 1, vfs.szOsFile = sizeof(File), vfs.zName = "traced", vfs.pNext = 0;
  vfs.xOpen = v_open, vfs.xDelete = v_delete, vfs.xAccess = v_access;
  sqlite3_vfs_register(&vfs, 1);
  sqlite3 *db = opened();
  sql(db, "CREATE TABLE item (id INTEGER PRIMARY KEY, owner INT, text TEXT); CREATE INDEX by_owner ON item (owner)");
  sql(db, "CREATE TABLE owner (id INTEGER PRIMARY KEY, name TEXT); BEGIN");
  for (int i = 0; i < 200; i++) sql(db, "INSERT INTO owner VALUES (%d, 'owner %d')", i, i);
  for (int i = 0; i < 1500; i++) sql(db, "INSERT INTO item VALUES (NULL, %d, hex(randomblob(40)))", i * 7 % 200);
  sql(db, "COMMIT");
  pthread_t thread[3];
  for (long i = 0; i < 3; i++) pthread_create(&thread[i], 0, work, (void *) i);
  for (int i = 0; i < 3; i++) pthread_join(thread[i], 0);
  sqlite3_close(db);
  return 0;
}
