/* The fleet's page: its three files, which are part of the program, and the JSON that they show.
 * Handlers of http_door.c's table of routes; they answer at once. Loop's thread. */
#pragma once

#include "router/http_door.h"

/* GET / and the files it loads: no key is needed, there is nothing of the fleet in them. */
void page_get_file(struct http_door *door, struct http_conn *conn, const struct http_request *req);
/* GET /fleet.json?since=N: router/view.h. */
void page_get_fleet(struct http_door *door, struct http_conn *conn, const struct http_request *req);
