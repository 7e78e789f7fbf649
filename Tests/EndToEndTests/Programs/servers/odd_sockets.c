/* Holds sockets that layer 4 forwarding cannot carry: raw, packet, SCTP, and UDP on a multicast address. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void hold(const char *what, int fd, const struct sockaddr_in *place) {
    if (fd < 0 || (place && bind(fd, (const struct sockaddr *)place, sizeof *place))) perror(what);
}

int main(void) {
    struct sockaddr_in group = {.sin_family = AF_INET, .sin_port = htons(8011)};
    inet_pton(AF_INET, "239.1.2.3", &group.sin_addr);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8012)};
    hold("raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), NULL);
    hold("packet", socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_LOOP)), NULL);
    hold("multicast", socket(AF_INET, SOCK_DGRAM, 0), &group);
    int sctp = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP);
    hold("sctp", sctp, &any);
    if (sctp >= 0 && listen(sctp, 8)) perror("sctp listen");
    pause();
    return 0;
}
