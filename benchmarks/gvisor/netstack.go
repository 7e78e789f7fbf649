// A forwarder on gVisor's network stack, as a peer for the benchmarks: what gvproxy (gvisor-tap-vsock) does for Podman's
// and Lima's VMs, without its other services. It is the far end of QEMU's -netdev stream, and a machine on that network.
//
//	netstack SOCKET in/PROTOCOL/PORT/GUESTPORT…     a port of 127.0.0.1 leads to one of the guest
//	                back/PROTOCOL/PORT…             a port of the stack's address leads to the same one of 127.0.0.1
//
// The guest is 10.80.0.1, the stack 10.80.0.2. On the socket a frame is four bytes of length, big-endian, and so many
// bytes.
package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"gvisor.dev/gvisor/pkg/bufferv2"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	nic       = 1
	mtu       = 1500
	chunk     = 128 << 10
	datagram  = 65535
	ipVersion = ipv4.ProtocolNumber
)

var (
	guest = tcpip.Address(net.IPv4(10, 80, 0, 1).To4())
	here  = tcpip.Address(net.IPv4(10, 80, 0, 2).To4())
)

// cable is the network card whose other end is QEMU.
type cable struct {
	*channel.Endpoint
	connection net.Conn
	turn       sync.Mutex
}

// WritePackets sends frames, one write each.
func (c *cable) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	c.turn.Lock()
	defer c.turn.Unlock()
	for count, packet := range packets.AsSlice() {
		frame := make([]byte, 4, 4+packet.Size())
		binary.BigEndian.PutUint32(frame, uint32(packet.Size()))
		for _, part := range packet.AsSlices() {
			frame = append(frame, part...)
		}
		if _, err := c.connection.Write(frame); err != nil {
			return count, &tcpip.ErrClosedForSend{}
		}
	}
	return packets.Len(), nil
}

// receive hands the stack every frame of QEMU's, until QEMU is gone.
func (c *cable) receive() error {
	reader := bufio.NewReaderSize(c.connection, chunk)
	var length [4]byte
	for {
		if _, err := io.ReadFull(reader, length[:]); err != nil {
			return err
		}
		frame := make([]byte, binary.BigEndian.Uint32(length[:]))
		if _, err := io.ReadFull(reader, frame); err != nil {
			return err
		}
		packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: bufferv2.MakeWithData(frame)})
		c.InjectInbound(0, packet)
		packet.DecRef()
	}
}

func newStack(c *cable) *stack.Stack {
	made := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	sack := tcpip.TCPSACKEnabled(true)
	check(made.SetTransportProtocolOption(tcp.ProtocolNumber, &sack))
	check(made.CreateNIC(nic, ethernet.New(c)))
	address := tcpip.ProtocolAddress{
		Protocol:          ipVersion,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: here, PrefixLen: 24},
	}
	check(made.AddProtocolAddress(nic, address, stack.AddressProperties{}))
	made.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	return made
}

func check(err tcpip.Error) {
	if err != nil {
		log.Fatal(err)
	}
}

// closer is what TCP of both kinds has.
type closer interface {
	net.Conn
	CloseWrite() error
}

func join(one, other closer) {
	both := func(from, to closer) {
		if _, err := io.CopyBuffer(onlyWriter{to}, onlyReader{from}, make([]byte, chunk)); err != nil {
			from.Close()
			to.Close()
		}
		to.CloseWrite()
	}
	done := make(chan bool)
	go func() { both(one, other); close(done) }()
	both(other, one)
	<-done
	one.Close()
	other.Close()
}

// io.CopyBuffer uses its buffer only where there is no quicker way, which sockets say they have.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

func serve(listener net.Listener, dial func() (closer, error)) {
	for {
		accepted, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			dialled, err := dial()
			if err != nil {
				accepted.Close()
				return
			}
			join(accepted.(closer), dialled)
		}()
	}
}

// relay passes datagrams on, from a socket of its own for every client, as gvproxy does.
func relay(socket net.PacketConn, dial func() (net.Conn, error)) {
	clients := map[string]net.Conn{}
	buffer := make([]byte, datagram)
	for {
		count, sender, err := socket.ReadFrom(buffer)
		if err != nil {
			continue
		}
		flow := clients[sender.String()]
		if flow == nil {
			if flow, err = dial(); err != nil {
				continue
			}
			clients[sender.String()] = flow
			go func() {
				answer := make([]byte, datagram)
				for {
					if count, err := flow.Read(answer); err == nil {
						socket.WriteTo(answer[:count], sender)
					} else if err == io.EOF {
						return
					}
				}
			}()
		}
		flow.Write(buffer[:count])
	}
}

func full(address tcpip.Address, port uint16) *tcpip.FullAddress {
	return &tcpip.FullAddress{NIC: nic, Addr: address, Port: port}
}

func number(word string) uint16 {
	value, err := strconv.ParseUint(word, 10, 16)
	if err != nil {
		log.Fatalf("netstack: %s: expected a port", word)
	}
	return uint16(value)
}

// forward begins what one argument says.
func forward(made *stack.Stack, word string) {
	parts := strings.Split(word, "/")
	port, target := number(parts[2]), number(parts[len(parts)-1])
	loopback := net.JoinHostPort("127.0.0.1", parts[2])
	switch parts[0] + "/" + parts[1] {
	case "in/tcp":
		listener, err := net.Listen("tcp", loopback)
		if err != nil {
			log.Fatal(err)
		}
		go serve(listener, func() (closer, error) { return gonet.DialTCP(made, *full(guest, target), ipVersion) })
	case "back/tcp":
		listener, err := gonet.ListenTCP(made, *full(here, port), ipVersion)
		if err != nil {
			log.Fatal(err)
		}
		go serve(listener, func() (closer, error) {
			dialled, err := net.Dial("tcp", loopback)
			if err != nil {
				return nil, err
			}
			return dialled.(closer), nil
		})
	case "in/udp":
		socket, err := net.ListenPacket("udp", loopback)
		if err != nil {
			log.Fatal(err)
		}
		go relay(socket, func() (net.Conn, error) { return gonet.DialUDP(made, nil, full(guest, target), ipVersion) })
	case "back/udp":
		socket, err := gonet.DialUDP(made, full(here, port), nil, ipVersion)
		if err != nil {
			log.Fatal(err)
		}
		go relay(socket, func() (net.Conn, error) { return net.Dial("udp", loopback) })
	default:
		log.Fatalf("netstack: %s: expected in/ or back/, and tcp or udp", word)
	}
}

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: netstack SOCKET in/PROTOCOL/PORT/GUESTPORT… back/PROTOCOL/PORT…")
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	connection, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	address := tcpip.LinkAddress("\x02\x00\x00\x00\x00\x50")
	card := &cable{Endpoint: channel.New(1, mtu+header.EthernetMinimumSize, address), connection: connection}
	made := newStack(card)
	for _, word := range os.Args[2:] {
		forward(made, word)
	}
	log.Println("QEMU is here:", card.receive())
}
