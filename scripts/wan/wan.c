/* An emulated wide area network between network namespaces of this machine, packet by packet.
 *
 *   wan HOST...     HOST = name,address,up_mbit,down_mbit,delay_ms,jitter_ms,loss_percent,queue_kib[,nat]
 *
 * For each host a tun device `wan0` is made in its namespace (which must exist). A packet from A to B waits in A's
 * uplink (rate, tail-drop queue), takes delay_A + delay_B (plus jitter, order kept), may be lost, and waits in B's downlink.
 * A rate of 0 is no limit. With `nat` the host takes only packets from addresses and ports that it has sent to before
 * (a port-restricted firewall, without translation of addresses).
 * Statistics go to standard error at SIGTERM. wan.py sets everything up.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define HOSTS 256
#define MTU 1600
#define HOLES (1 << 16)

struct link { double bytes_per_ns; int64_t free_at; long queued, limit; };
struct host {
    char name[32]; uint32_t ip; struct link up, down; int64_t delay, jitter, last_out; double loss; int nat, fd;
    unsigned long sent, lost, dropped, blocked, bytes;
    uint64_t *holes;
};
struct packet { int64_t at; uint64_t seq; int from, to, stage, size; unsigned char data[MTU]; };

static struct host hosts[HOSTS];
static int host_count;
static struct packet **heap; static long heap_size, heap_room; static uint64_t sequence;
static volatile sig_atomic_t stop;

static void on_term(int s) { (void)s; stop = 1; }
static int64_t now_ns(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
static int before(struct packet *a, struct packet *b) { return a->at < b->at || (a->at == b->at && a->seq < b->seq); }

static void push(struct packet *p) {
    if (heap_size == heap_room) heap = realloc(heap, (heap_room = heap_room ? heap_room * 2 : 1024) * sizeof *heap);
    long i = heap_size++;
    for (; i && before(p, heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = p;
}
static struct packet *pop(void) {
    struct packet *top = heap[0], *p = heap[--heap_size];
    long i = 0;
    for (long c; (c = 2 * i + 1) < heap_size; i = c) {
        if (c + 1 < heap_size && before(heap[c + 1], heap[c])) c++;
        if (!before(heap[c], p)) break;
        heap[i] = heap[c];
    }
    if (heap_size) heap[i] = p;
    return top;
}
static double chance(void) { return drand48(); }

/* When the last byte leaves the link, or -1 where its queue is full. */
static int64_t pass(struct link *l, int size, int64_t now) {
    if (l->bytes_per_ns <= 0) return now;
    if (l->free_at < now) l->free_at = now;
    if ((l->free_at - now) * l->bytes_per_ns + size > l->limit) return -1;
    return l->free_at += (int64_t)(size / l->bytes_per_ns);
}
static uint64_t flow(const unsigned char *d, int size, int reply) { /* remote address and port, local port, protocol */
    int head = (d[0] & 15) * 4; uint16_t sp = 0, dp = 0; uint32_t a;
    if (size >= head + 4 && (d[9] == 6 || d[9] == 17)) { memcpy(&sp, d + head, 2); memcpy(&dp, d + head + 2, 2); }
    memcpy(&a, d + (reply ? 12 : 16), 4);
    uint64_t k = ((uint64_t)a << 32) | ((uint32_t)(reply ? sp : dp) << 16) | (reply ? dp : sp);
    return (k ^ ((uint64_t)d[9] << 56)) | 1;
}
static uint64_t *hole(struct host *h, uint64_t key) {
    uint64_t i = (key * 0x9E3779B97F4A7C15ULL) >> 48;
    while (h->holes[i] && h->holes[i] != key) i = (i + 1) % HOLES;
    return &h->holes[i];
}
static int find_host(uint32_t ip) { for (int i = 0; i < host_count; i++) if (hosts[i].ip == ip) return i; return -1; }

static void enter(int from, unsigned char *data, int size, int64_t now) {
    struct host *h = &hosts[from];
    uint32_t to_ip; if (size < 20 || (data[0] >> 4) != 4) return;
    memcpy(&to_ip, data + 16, 4);
    int to = find_host(to_ip); if (to < 0) return;
    h->sent++; h->bytes += size;
    if (h->nat) *hole(h, flow(data, size, 0)) = flow(data, size, 0);
    int64_t out = pass(&h->up, size, now);
    if (out < 0) { h->dropped++; return; }
    if (h->loss > 0 && chance() < h->loss) { h->lost++; return; }
    int64_t at = out + h->delay + hosts[to].delay + (h->jitter ? (int64_t)(chance() * h->jitter) : 0);
    if (at < h->last_out && h->jitter) at = h->last_out; /* jitter keeps the order of what one host sends */
    if (h->jitter) h->last_out = at;
    struct packet *p = malloc(sizeof *p);
    p->at = at; p->seq = sequence++; p->from = from; p->to = to; p->stage = 0; p->size = size; memcpy(p->data, data, size);
    push(p);
}
static void due(int64_t now) {
    while (heap_size && heap[0]->at <= now) {
        struct packet *p = pop(); struct host *h = &hosts[p->to];
        if (p->stage == 0) {
            if (h->nat && !*hole(h, flow(p->data, p->size, 1))) { h->blocked++; free(p); continue; }
            int64_t out = pass(&h->down, p->size, p->at);
            if (out < 0) { h->dropped++; free(p); continue; }
            p->stage = 1; p->at = out; p->seq = sequence++; push(p); continue;
        }
        if (write(h->fd, p->data, p->size) < 0 && errno != EAGAIN) h->dropped++;
        free(p);
    }
}
static int open_tun(const char *ns) {
    char path[128]; snprintf(path, sizeof path, "/var/run/netns/%s", ns);
    int home = open("/proc/self/ns/net", O_RDONLY), there = open(path, O_RDONLY);
    if (there < 0 || setns(there, CLONE_NEWNET) < 0) { perror(path); exit(1); }
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK); struct ifreq r; memset(&r, 0, sizeof r);
    r.ifr_flags = IFF_TUN | IFF_NO_PI; strcpy(r.ifr_name, "wan0");
    if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0) { perror("tun"); exit(1); }
    setns(home, CLONE_NEWNET); close(home); close(there);
    return fd;
}
int main(int argc, char **argv) {
    signal(SIGTERM, on_term); signal(SIGINT, on_term); srand48(getenv("WAN_SEED") ? atol(getenv("WAN_SEED")) : 1);
    for (int i = 1; i < argc && host_count < HOSTS; i++) {
        struct host *h = &hosts[host_count]; char ip[64], nat[8] = ""; double up, down, delay, jitter, loss, queue;
        if (sscanf(argv[i], "%31[^,],%63[^,],%lf,%lf,%lf,%lf,%lf,%lf,%7s", h->name, ip, &up, &down, &delay, &jitter, &loss, &queue, nat) < 8) {
            fprintf(stderr, "bad host: %s\n", argv[i]); return 2;
        }
        h->ip = inet_addr(ip); h->up.bytes_per_ns = up / 8000; h->down.bytes_per_ns = down / 8000;
        h->up.limit = h->down.limit = (long)(queue * 1024); h->delay = delay * 1e6; h->jitter = jitter * 1e6; h->loss = loss / 100;
        h->nat = !strcmp(nat, "nat"); if (h->nat) h->holes = calloc(HOLES, sizeof *h->holes);
        h->fd = open_tun(h->name); host_count++;
    }
    printf("ready\n"); fflush(stdout);
    struct pollfd polls[HOSTS]; for (int i = 0; i < host_count; i++) polls[i] = (struct pollfd){hosts[i].fd, POLLIN, 0};
    static unsigned char buffer[65536];
    while (!stop) {
        int64_t now = now_ns(), wait = heap_size ? heap[0]->at - now : 1000000000LL; if (wait < 0) wait = 0;
        struct timespec t = {wait / 1000000000LL, wait % 1000000000LL};
        if (ppoll(polls, host_count, &t, NULL) < 0 && errno != EINTR) break;
        now = now_ns();
        for (int i = 0; i < host_count; i++) if (polls[i].revents & POLLIN)
            for (int n = 0; n < 64; n++) { /* a batch, so that no host starves another */
                ssize_t size = read(hosts[i].fd, buffer, sizeof buffer);
                if (size <= 0) break;
                if (size <= MTU) enter(i, buffer, size, now);
            }
        due(now_ns());
    }
    for (int i = 0; i < host_count; i++) fprintf(stderr, "%s: %lu packets, %lu bytes sent, %lu lost, %lu dropped, %lu blocked\n", hosts[i].name,
        hosts[i].sent, hosts[i].bytes, hosts[i].lost, hosts[i].dropped, hosts[i].blocked);
    return 0;
}
