//! The node's connection tracking, over netlink (`NFNL_SUBSYS_CTNETLINK`): which connections it knows, and forgetting some.
//!
//! Numbers and layouts are those of `linux/netlink.h`, `linux/netfilter/nfnetlink.h` and `nfnetlink_conntrack.h`. A message
//! is a header of 16 bytes in the machine's order, four bytes of netfilter's, and attributes: length, type, value, padded to
//! four bytes; addresses and ports are in network order.

use super::wire::Connection;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The network namespace of the node's first process; the pod shares the node's processes, not its network.
const NODE_NETWORK: &str = "/proc/1/ns/net";
/// How long the kernel may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// The kernel fills at most 32 KiB of a dump at once (`NLMSG_GOODSIZE` and what a reader offers).
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Connections of one look, at most: an answer is one line of bounded length.
const CONNECTIONS_MAX: usize = 4_096;

const HEADER_BYTES: usize = 16;
const FAMILY_BYTES: usize = 4;
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
const CT_NEW: u16 = 0x100;
const CT_GET: u16 = 0x101;
const CT_DELETE: u16 = 0x102;
const FLAG_REQUEST: u16 = 0x001;
const FLAG_ACK: u16 = 0x004;
const FLAG_DUMP: u16 = 0x300;
/// Set in an answer where the table changed meanwhile, so that entries may be missing.
const FLAG_DUMP_INTERRUPTED: u16 = 0x010;
const FAMILY_IPV4: u8 = 2;
const ERRNO_NOT_FOUND: i32 = 2;
const ATTRIBUTE_TYPE: u16 = 0x3fff;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_ID: u16 = 12;
const STATUS_SEEN_REPLY: u32 = 1 << 1;
const PROTOCOL_TCP: u8 = 6;
const TCP_ESTABLISHED: u8 = 3;
/// How often a dump that was interrupted is asked for again.
const TRIES: usize = 5;

/// An entry as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    connection: Connection,
    /// The ends of both directions: behind a Service's address, the answering pod is in the second alone.
    addresses: [Ipv4Addr; 4],
    /// What names it to the kernel: its original direction and its number, as attributes.
    name: Vec<u8>,
}

/// The TCP connections between `pods` and `peers` that the node tracks now.
///
/// # Errors
/// Where the kernel does not answer, or tracks more of them than fit one answer.
pub(super) fn look(pods: &[Ipv4Addr], peers: &[Ipv4Addr]) -> io::Result<Vec<Connection>> {
    let entries = in_node_network(|socket| between(socket, pods, peers))?;
    Ok(entries.into_iter().map(|entry| entry.connection).collect())
}

/// Makes the node forget them, and returns those that it forgot.
///
/// # Errors
/// As [`look`], and where an entry that is there cannot be taken out.
pub(super) fn end(pods: &[Ipv4Addr], peers: &[Ipv4Addr]) -> io::Result<Vec<Connection>> {
    in_node_network(|socket| {
        let mut ended = Vec::new();
        for entry in between(socket, pods, peers)? {
            if delete(socket, &entry.name)? {
                ended.push(entry.connection);
            }
        }
        Ok(ended)
    })
}

/// Does something with a netlink socket of the node's network namespace. A thread of its own enters it and ends there.
fn in_node_network<T: Send>(act: impl FnOnce(&OwnedFd) -> io::Result<T> + Send) -> io::Result<T> {
    let entered = || -> io::Result<T> {
        let namespace = File::open(NODE_NETWORK)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_LIMIT))?;
        act(&socket)
    };
    std::thread::scope(|scope| {
        let panicked = |_| io::Error::other("the thread in the node's network namespace panicked");
        scope.spawn(entered).join().map_err(panicked)?
    })
}

fn between(socket: &OwnedFd, pods: &[Ipv4Addr], peers: &[Ipv4Addr]) -> io::Result<Vec<Entry>> {
    let mut entries = dump(socket)?;
    entries.retain(|entry| {
        let has = |of: &[Ipv4Addr]| entry.addresses.iter().any(|address| of.contains(address));
        has(pods) && has(peers)
    });
    if entries.len() > CONNECTIONS_MAX {
        return Err(io::Error::other(format!("{} connections, {CONNECTIONS_MAX} at most", entries.len())));
    }
    Ok(entries)
}

/// Every TCP entry of the table.
fn dump(socket: &OwnedFd) -> io::Result<Vec<Entry>> {
    for _ in 0..TRIES {
        send(socket, &request(CT_GET, FLAG_REQUEST | FLAG_DUMP, &[]), SendFlags::empty())?;
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        let (mut entries, mut is_whole, mut is_done) = (Vec::new(), true, false);
        while !is_done {
            let (_, length) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
            for message in messages(buffer.get(..length).ok_or_else(unreadable)?)? {
                is_whole &= message.flags & FLAG_DUMP_INTERRUPTED == 0;
                match message.kind {
                    MESSAGE_DONE => is_done = true,
                    MESSAGE_ERROR => return Err(error_of(message.body)?.unwrap_or_else(unreadable)),
                    CT_NEW => entries.extend(entry(message.body)?),
                    _ => {}
                }
            }
        }
        if is_whole {
            return Ok(entries);
        }
    }
    Err(io::Error::other(format!("the table changed during each of {TRIES} dumps")))
}

/// Takes one entry out; `false` where it was gone already.
fn delete(socket: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    send(socket, &request(CT_DELETE, FLAG_REQUEST | FLAG_ACK, name), SendFlags::empty())?;
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    let (_, length) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
    let answers = messages(buffer.get(..length).ok_or_else(unreadable)?)?;
    let answer = answers.iter().find(|message| message.kind == MESSAGE_ERROR).ok_or_else(unreadable)?;
    match error_of(answer.body)? {
        None => Ok(true),
        Some(error) if error.raw_os_error() == Some(ERRNO_NOT_FOUND) => Ok(false),
        Some(error) => Err(error),
    }
}

fn request(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES + FAMILY_BYTES + attributes.len();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]); // sequence and port: one question at a time on a socket of its own
    message.extend([FAMILY_IPV4, 0, 0, 0]);
    message.extend(attributes);
    message
}

/// One message: its type, its flags, and what follows its header.
struct Message<'a> {
    kind: u16,
    flags: u16,
    body: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> io::Result<Vec<Message<'_>>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let length = usize::try_from(u32_at(bytes, 0)?).map_err(|_| unreadable())?;
        let body = bytes.get(HEADER_BYTES..length).ok_or_else(unreadable)?;
        all.push(Message { kind: u16_at(bytes, 4)?, flags: u16_at(bytes, 6)?, body });
        bytes = bytes.get(padded(length)..).unwrap_or_default();
    }
    Ok(all)
}

/// What a message of type error says; `None` is success.
fn error_of(body: &[u8]) -> io::Result<Option<io::Error>> {
    let number = i32::from_ne_bytes(array_at(body, 0)?);
    Ok((number != 0).then(|| io::Error::from_raw_os_error(number.saturating_neg())))
}

/// A TCP entry out of a message's body; `None` for another protocol.
fn entry(body: &[u8]) -> io::Result<Option<Entry>> {
    let all = attributes(body.get(FAMILY_BYTES..).ok_or_else(unreadable)?)?;
    let find = |kind| all.iter().find(|one| one.kind == kind);
    let (Some(original), Some(reply)) = (find(CTA_TUPLE_ORIG), find(CTA_TUPLE_REPLY)) else { return Err(unreadable()) };
    let Some((source, destination)) = tuple(original.value)? else { return Ok(None) };
    let Some((answers, answered)) = tuple(reply.value)? else { return Ok(None) };
    let status = find(CTA_STATUS).map_or(Ok(0), |one| array_at(one.value, 0).map(u32::from_be_bytes))?;
    let state = match find(CTA_PROTOINFO) {
        Some(one) => nested(one.value, &[1, 1])?.and_then(|state| state.first().copied()),
        None => None,
    };
    let is_answered = status & STATUS_SEEN_REPLY != 0;
    let is_established = state == Some(TCP_ESTABLISHED) && is_answered;
    let connection = Connection { source, destination, answered_by: answers, is_established };
    let addresses = [*source.ip(), *destination.ip(), *answers.ip(), *answered.ip()];
    let name = [original.whole, find(CTA_ID).map_or(&[][..], |id| id.whole)].concat();
    Ok(Some(Entry { connection, addresses, name }))
}

/// Both ends of a direction: `{ip {1 source, 2 destination}, protocol {1 number, 2 source port, 3 destination port}}`.
fn tuple(value: &[u8]) -> io::Result<Option<(SocketAddrV4, SocketAddrV4)>> {
    if nested(value, &[2, 1])?.and_then(|number| number.first()) != Some(&PROTOCOL_TCP) {
        return Ok(None);
    }
    let end = |number: u16| -> io::Result<SocketAddrV4> {
        let address = nested(value, &[1, number])?.ok_or_else(unreadable)?;
        let port = nested(value, &[2, number + 1])?.ok_or_else(unreadable)?;
        Ok(SocketAddrV4::new(Ipv4Addr::from(array_at::<4>(address, 0)?), u16::from_be_bytes(array_at(port, 0)?)))
    };
    Ok(Some((end(1)?, end(2)?)))
}

/// The value behind a path of attributes.
fn nested<'a>(mut value: &'a [u8], path: &[u16]) -> io::Result<Option<&'a [u8]>> {
    for kind in path {
        match attributes(value)?.into_iter().find(|one| one.kind == *kind) {
            Some(one) => value = one.value,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
    /// With its header and its padding.
    whole: &'a [u8],
}

fn attributes(mut bytes: &[u8]) -> io::Result<Vec<Attribute<'_>>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(4..length).ok_or_else(unreadable)?;
        let whole = bytes.get(..padded(length)).unwrap_or(bytes);
        all.push(Attribute { kind: u16_at(bytes, 2)? & ATTRIBUTE_TYPE, value, whole });
        bytes = bytes.get(padded(length)..).unwrap_or_default();
    }
    Ok(all)
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; N]> {
    bytes.get(at..at + N).and_then(|part| part.try_into().ok()).ok_or_else(unreadable)
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<u16> {
    array_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer about tracked connections is not readable")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(padded(bytes.len()), 0);
        bytes
    }

    fn direction(kind: u16, protocol: u8, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Vec<u8> {
        let ip = [attribute(1, &from.0), attribute(2, &to.0)].concat();
        let ports = [attribute(1, &[protocol]), attribute(2, &from.1.to_be_bytes()), attribute(3, &to.1.to_be_bytes())]
            .concat();
        attribute(kind | 0x8000, &[attribute(0x8001, &ip), attribute(0x8002, &ports)].concat())
    }

    fn told(protocol: u8, status: u32, state: u8) -> Vec<u8> {
        let tcp = attribute(0x8001, &attribute(1, &[state]));
        let parts = [
            vec![FAMILY_IPV4, 0, 0, 0],
            direction(CTA_TUPLE_ORIG, protocol, ([10, 0, 0, 5], 40_000), ([10, 96, 0, 9], 5432)),
            direction(CTA_TUPLE_REPLY, protocol, ([10, 0, 1, 7], 5432), ([10, 0, 0, 5], 40_000)),
            attribute(CTA_STATUS, &status.to_be_bytes()),
            attribute(CTA_PROTOINFO | 0x8000, &tcp),
            attribute(CTA_ID, &[1, 2, 3, 4]),
        ];
        parts.concat()
    }

    #[test]
    fn an_entry_names_both_its_ends_behind_a_service_too() {
        let found = entry(&told(PROTOCOL_TCP, STATUS_SEEN_REPLY, TCP_ESTABLISHED)).unwrap().unwrap();
        assert!(found.connection.is_established);
        assert_eq!(found.connection.to_string(), "10.0.0.5:40000 -> 10.96.0.9:5432 (10.0.1.7:5432)");
        assert!(found.addresses.contains(&Ipv4Addr::new(10, 0, 1, 7)));
        let original = direction(CTA_TUPLE_ORIG, PROTOCOL_TCP, ([10, 0, 0, 5], 40_000), ([10, 96, 0, 9], 5432));
        assert_eq!(found.name, [original, attribute(CTA_ID, &[1, 2, 3, 4])].concat());
    }

    #[test]
    fn only_what_was_answered_is_established() {
        let is_established =
            |status, state| entry(&told(PROTOCOL_TCP, status, state)).unwrap().unwrap().connection.is_established;
        assert!(!is_established(0, TCP_ESTABLISHED), "picked up in the middle, and nobody answers");
        assert!(!is_established(STATUS_SEEN_REPLY, 2));
        assert_eq!(entry(&told(17, STATUS_SEEN_REPLY, 0)).unwrap(), None);
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let whole = told(PROTOCOL_TCP, STATUS_SEEN_REPLY, TCP_ESTABLISHED);
        assert!(entry(&whole[..whole.len() - 5]).is_err());
        assert!(messages(&request(CT_GET, FLAG_REQUEST, &[])[..10]).is_err());
        assert_eq!(messages(&request(CT_GET, FLAG_REQUEST, &[])).unwrap().len(), 1);
    }
}
