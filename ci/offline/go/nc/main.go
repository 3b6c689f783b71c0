// Command nc connects to a TCP port, or listens on one, as busybox's does: Debian builds its busybox without `nc -z`, which
// runbooks use and which the images that this one stands in for have.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

func main() {
	// Flags may be joined (-zv) and follow the host, which package flag does not know.
	var spread, words []string
	for _, argument := range os.Args[1:] {
		if len(argument) > 2 && argument[0] == '-' && strings.Trim(argument[1:], "zvln") == "" {
			for _, letter := range argument[1:] {
				spread = append(spread, "-"+string(letter))
			}
		} else {
			spread = append(spread, argument)
		}
	}
	set := flag.NewFlagSet("nc", flag.ExitOnError)
	scan := set.Bool("z", false, "connect only, send nothing")
	verbose := set.Bool("v", false, "tell about the connection")
	listen := set.Bool("l", false, "listen")
	port := set.String("p", "", "local port")
	wait := set.Int("w", 0, "seconds to wait for a connection")
	set.Bool("n", false, "addresses only (accepted, and not needed)")
	for _ = set.Parse(spread); set.NArg() > 0; _ = set.Parse(set.Args()[1:]) {
		words = append(words, set.Arg(0))
	}
	var connection net.Conn
	switch {
	case *listen && *port != "" && len(words) == 0:
		listener, err := net.Listen("tcp", ":"+*port)
		check(err)
		connection, err = listener.Accept()
		check(err)
	case !*listen && len(words) == 2:
		host := words[0]
		addresses, err := net.LookupHost(host)
		if err != nil {
			fail("bad address '%s'", host)
		}
		address := net.JoinHostPort(addresses[0], words[1])
		connection, err = net.DialTimeout("tcp", address, time.Duration(*wait)*time.Second)
		if err != nil {
			fail("%s (%s): %s", host, address, reason(err))
		}
		if *verbose {
			fmt.Fprintf(os.Stderr, "%s (%s) open\n", host, address)
		}
		if *scan {
			return
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: nc [-zv] [-w SECONDS] HOST PORT | nc -l -p PORT")
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(connection, os.Stdin)
		_ = connection.(*net.TCPConn).CloseWrite()
	}()
	_, err := io.Copy(os.Stdout, connection)
	check(err)
}

func reason(err error) string {
	var number syscall.Errno
	var network net.Error
	switch {
	case errors.As(err, &number):
		text := number.Error()
		return strings.ToUpper(text[:1]) + text[1:]
	case errors.As(err, &network) && network.Timeout():
		return "Connection timed out"
	}
	return err.Error()
}

func check(err error) {
	if err != nil {
		fail("%s", reason(err))
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "nc: "+format+"\n", arguments...)
	os.Exit(1)
}
