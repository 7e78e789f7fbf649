// The whole of libuv, as the distribution ships it (Debian 12: 1.44.2). Imported by EventLoop only.
#include <uv.h>
