use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use pelton::connectors::socket::SocketSource;
use pelton::connectors::{Available, OffsetRange, ReadLimits, Source};
use pelton::error::{Error, ErrorKind};

use crate::contract::check_source;
use crate::lines::SlowLines;
use crate::tables::{lines, text};

/// A peer on a port of its own.
fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn connect(address: &str) -> SocketSource {
    SocketSource::new(address, SlowLines::of_streams()).first_wait(Duration::from_millis(1))
}

/// Asks until the source says something else than `Nothing`; gives up after a time that is long for any machine.
#[expect(clippy::panic_in_result_fn, reason = "the result is the source's, the panic is the test's")]
fn ask(source: &mut SocketSource) -> Result<Available, Error> {
    for _ in 0..30_000 {
        match source.next_range(&ReadLimits::default()) {
            Ok(Available::Nothing) => thread::sleep(Duration::from_millis(1)),
            other => return other,
        }
    }
    panic!("nothing came");
}

fn ask_range(source: &mut SocketSource) -> OffsetRange {
    match ask(source).unwrap() {
        Available::Range(range) => range,
        other => panic!("a range was expected, not {other:?}"),
    }
}

/// Reads and commits until so many lines have come.
fn receive(source: &mut SocketSource, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        let range = ask_range(source);
        all.extend(lines(source, &range));
        source.commit(&range).unwrap();
    }
    all
}

#[test]
fn a_socket_keeps_the_contract() {
    let all: Vec<String> = (0_u32..200).map(|line| "z".repeat(usize::try_from(line * 11 % 50).unwrap())).collect();
    let content = all.join("\n") + "\n";
    let fresh = || {
        let (listener, address) = listen();
        let sent = content.clone();
        thread::spawn(move || listener.accept().unwrap().0.write_all(sent.as_bytes()).unwrap());
        let mut source = connect(&address).ends_with_peer(true);
        source.start().unwrap();
        // All is there before the contract is checked, which is about cutting, not about waiting.
        for _ in 0..30_000 {
            if source.backlog().bytes == Some(content.len() as u64) {
                return Box::new(source) as Box<dyn Source>;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("not everything came");
    };
    check_source(&mut { fresh }, &text(&all));
}

#[test]
fn lines_are_put_together_from_pieces_and_an_orderly_end_ends_the_last() {
    let (listener, address) = listen();
    let mut source = connect(&address).ends_with_peer(true);
    source.start().unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"fir").unwrap();
    peer.write_all(b"st\nsecond\nla").unwrap();
    assert_eq!(receive(&mut source, 2), ["first", "second"]);
    peer.write_all(b"st").unwrap();
    drop(peer);
    assert_eq!(receive(&mut source, 1), ["last"]);
    assert_eq!(ask(&mut source).unwrap(), Available::Ended);
}

#[test]
fn a_connection_that_ends_is_made_anew() {
    let (listener, address) = listen();
    let mut source = connect(&address);
    source.start().unwrap();
    for round in ["1", "2", "3"] {
        let (mut peer, _) = listener.accept().unwrap();
        writeln!(peer, "{round}").unwrap();
        drop(peer);
        assert_eq!(receive(&mut source, 1), [round]);
    }
}

#[test]
fn a_full_buffer_slows_the_peer_down_and_nothing_is_lost() {
    let (listener, address) = listen();
    let sending = thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let lines: String = (0..20_000).map(|line| format!("{line:0100}\n")).collect();
        peer.write_all(lines.as_bytes()).unwrap();
    });
    let mut source = connect(&address).ends_with_peer(true).buffer_bytes(10_000);
    let mut expected = 0;
    while let Available::Range(range) = ask(&mut source).unwrap() {
        let held = lines(&mut source, &range);
        assert!(held.len() * 101 <= 70_000, "more is held than one block of the connection");
        for line in held {
            assert_eq!(line, format!("{expected:0100}"));
            expected += 1;
        }
        source.commit(&range).unwrap();
    }
    assert_eq!(expected, 20_000);
    sending.join().unwrap();
}

#[test]
fn a_peer_that_is_not_there_is_an_error_in_the_end() {
    let (listener, address) = listen();
    drop(listener);
    let error = ask(&mut connect(&address).attempts(3)).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Connector, pelton::error::Retry::Later));
    assert!(error.to_string().contains(&address) && error.to_string().contains("3 times"), "{error}");
    let error = ask(&mut connect("no address").attempts(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connector);
}

#[test]
fn stopping_closes_the_connection_and_keeps_what_came() {
    let (listener, address) = listen();
    let mut source = connect(&address);
    source.start().unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"one\ntwo").unwrap();
    let range = ask_range(&mut source);
    source.stop();
    let mut rest = Vec::new();
    assert_eq!(peer.read_to_end(&mut rest).unwrap(), 0, "the peer sees the end");
    assert_eq!(lines(&mut source, &range), ["one"]);
    assert_eq!(ask(&mut source).unwrap(), Available::Ended);
}
