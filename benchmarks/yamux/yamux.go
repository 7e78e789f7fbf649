// A forwarder over hashicorp/yamux, as a peer for the benchmarks: the multiplexer that most Go programs of this
// kind use, here with two hops as Twinport has them, all connections in one session over one Unix socket.
//
//	yamux near PORT PATH     accepts on 127.0.0.1:PORT, opens a stream for every connection; waits for PATH
//	yamux far PATH PORT      accepts one session on PATH, dials 127.0.0.1:PORT for every stream
//
// Windows of 6 MiB instead of yamux's 256 KiB, and copies of 128 KiB instead of io.Copy's 32, so that yamux shows what
// it can do. A yamux stream cannot be half-closed: after Close it reads no more. So bytes travel in frames, four bytes of
// length and so many bytes; a length of 0 is the end of that direction.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	header = 4
	chunk  = 128 << 10
	window = 6 << 20
)

var buffers = sync.Pool{New: func() interface{} {
	buffer := make([]byte, header+chunk)
	return &buffer
}}

func config() *yamux.Config {
	config := yamux.DefaultConfig()
	config.MaxStreamWindowSize = window
	config.AcceptBacklog = 4096
	config.LogOutput = io.Discard
	return config
}

// join passes bytes both ways until both have ended. An error ends both at once: a cut must not look like an end.
func join(application *net.TCPConn, stream *yamux.Stream) {
	results := make(chan error, 2)
	go func() { results <- passOut(application, stream) }()
	go func() { results <- passIn(stream, application) }()
	if <-results != nil || <-results != nil {
		application.SetLinger(0)
	}
	application.Close()
	stream.Close()
}

func passOut(application *net.TCPConn, stream *yamux.Stream) error {
	shared := buffers.Get().(*[]byte)
	defer buffers.Put(shared)
	buffer := *shared
	for {
		count, err := application.Read(buffer[header:])
		if err != nil && err != io.EOF {
			return err
		}
		binary.LittleEndian.PutUint32(buffer, uint32(count))
		if _, failure := stream.Write(buffer[:header+count]); failure != nil {
			return failure
		}
		if count == 0 {
			return nil
		}
	}
}

func passIn(stream *yamux.Stream, application *net.TCPConn) error {
	shared := buffers.Get().(*[]byte)
	defer buffers.Put(shared)
	buffer := *shared
	for {
		if _, err := io.ReadFull(stream, buffer[:header]); err != nil {
			return err
		}
		rest := int(binary.LittleEndian.Uint32(buffer))
		if rest == 0 {
			return application.CloseWrite()
		}
		if rest > chunk {
			return fmt.Errorf("a frame of %d bytes", rest)
		}
		for rest > 0 {
			count, err := stream.Read(buffer[:rest])
			if err != nil {
				return err
			}
			if _, err := application.Write(buffer[:count]); err != nil {
				return err
			}
			rest -= count
		}
	}
}

func near(port, path string) error {
	tunnel, err := net.Dial("unix", path)
	for attempt := 0; err != nil && attempt < 100; attempt++ {
		time.Sleep(100 * time.Millisecond)
		tunnel, err = net.Dial("unix", path)
	}
	if err != nil {
		return err
	}
	session, err := yamux.Client(tunnel, config())
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		application, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			stream, err := session.OpenStream()
			if err != nil {
				application.Close()
				return
			}
			join(application.(*net.TCPConn), stream)
		}()
	}
}

func far(path, port string) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	tunnel, err := listener.Accept()
	if err != nil {
		return err
	}
	session, err := yamux.Server(tunnel, config())
	if err != nil {
		return err
	}
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return err
		}
		go func() {
			application, err := net.Dial("tcp4", "127.0.0.1:"+port)
			if err != nil {
				stream.Close()
				return
			}
			join(application.(*net.TCPConn), stream)
		}()
	}
}

func main() {
	run := map[string]func(string, string) error{"near": near, "far": far}
	if len(os.Args) != 4 || run[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: yamux near PORT PATH | far PATH PORT")
		os.Exit(2)
	}
	log.SetFlags(0)
	log.Fatal(run[os.Args[1]](os.Args[2], os.Args[3]))
}
