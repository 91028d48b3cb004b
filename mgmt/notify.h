/* sd_notify(3): tells the service manager, when there is one. Main thread. */
#ifndef MG_NOTIFY_H
#define MG_NOTIFY_H

/* "READY=1". Nothing happens without NOTIFY_SOCKET. */
void mg_notify(const char *state);

#endif
