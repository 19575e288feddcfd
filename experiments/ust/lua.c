/* The Lua interpreter with tracepoints at calls and at memory: the real interpreter runs a script of its own.

   lua SCRIPT RUN */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "lua_events.h"
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#define T(name, number) lttng_ust_tracepoint(lua, name, (long) (number))

static void *memory(void *context, void *old, size_t before, size_t after) {
  if (after == 0) {
    if (old) T(free, before);
    free(old);
    return 0;
  }
  if (old) {
    if (after > before) T(grow, after); else T(shrink, after);
  } else switch (before) {  /* for a new object: its type */
    case LUA_TSTRING: T(new_string, after); break;
    case LUA_TTABLE: T(new_table, after); break;
    case LUA_TFUNCTION: T(new_function, after); break;
    case LUA_TTHREAD: T(new_thread, after); break;
    default: T(new_other, after);
  }
  return realloc(old, after);
}

static void hook(lua_State *L, lua_Debug *ar) {
  lua_getinfo(L, "S", ar);
  if (ar->what[0] == 'C') {
    if (ar->event == LUA_HOOKRET) T(library_exit, 0); else T(library_entry, 0);
  } else if (ar->event == LUA_HOOKCALL) T(call, ar->linedefined);
  else if (ar->event == LUA_HOOKTAILCALL) T(tail_call, ar->linedefined);
  else T(return, ar->linedefined);
}

static int pause_for(lua_State *L) { usleep(luaL_checkinteger(L, 1)); return 0; }

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  lua_State *L = lua_newstate(memory, 0);
  luaL_openlibs(L);
  lua_pushinteger(L, atoi(argv[2]));
  lua_setglobal(L, "RUN");
  lua_register(L, "wait", pause_for);
  lua_sethook(L, hook, LUA_MASKCALL | LUA_MASKRET, 0);
  int failed = luaL_dofile(L, argv[1]);
  if (failed) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return failed != 0;
}
