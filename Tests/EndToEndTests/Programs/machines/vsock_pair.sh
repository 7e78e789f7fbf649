#!/bin/sh
# Helper and agent in two network namespaces of one kernel, joined by vsock's loopback: vsock_pair.sh CID USER
#   CID   which machine the helper lets connect (the loopback is 1)
#   USER  who runs the agent
cd /opt
printf 'hostNetworking: {enabled: true}\ntunnel: {listen: "vsock://%s:3000"}\n' "$1" >s.yaml
unshare -n sh -c 'ip link set lo up; echo $$ >desktop.pid; exec /opt/twinport host --settings /opt/s.yaml --control /opt/c.sock' &
unshare -n sh -c "ip link set lo up; echo \$\$ >vm.pid; exec su -s /bin/sh $2 -c 'exec twinport-agent --connect vsock://1:3000'" &
trap 'kill $(cat desktop.pid vm.pid); pkill -f vsock://1:3000; exit' HUP TERM
wait
