use crate::host::{Outcome, SharedData};
use crate::provider::{assert_accepted, configuration, fetch, key, request, start, token};

#[test]
fn no_bytes_in_a_request_stop_the_plugin() {
    let vm = start(&configuration(), &SharedData::default());
    let key = key("one");
    fetch(&vm, &[&key]);
    let good = token(&key);
    let long =
        b"Bearer ".iter().copied().chain(std::iter::repeat_n(b'a', 1 << 20)).collect::<Vec<_>>();
    let dots = [&b"Bearer "[..], &b".".repeat(8000)].concat();
    let requests: [&[(&str, &[u8])]; 9] = [
        &[],
        &[("authorization", b"\xff\xfe")],
        &[("authorization", b"Bearer \xff.\xff.\xff")],
        &[("authorization", b"Bearer ..")],
        &[("authorization", &long)],
        &[("authorization", &dots)],
        &[(":path", b"\xff?\xff%"), ("authorization", b"Bearer a.b.c")],
        &[(":path", b""), (":method", b"\xff"), ("origin", b"\xff")],
        &[("x-\u{130}_\u{fffd}", b"\xff"), ("authorization", b"")],
    ];
    for fields in requests {
        let (_, outcome) = vm.request(fields);
        let Outcome::Refused(response) = outcome else { panic!("{fields:?}: {outcome:?}") };
        assert!((400..500).contains(&response.status), "{fields:?}: {response:?}");
        assert_accepted(&vm, &good);
    }
}

#[test]
fn every_prefix_of_a_valid_token_is_refused() {
    let vm = start(&configuration(), &SharedData::default());
    let key = key("one");
    fetch(&vm, &[&key]);
    let good = token(&key);
    for end in 0..good.len() {
        let (_, outcome) = request(&vm, &good[..end]);
        assert!(matches!(outcome, Outcome::Refused(_)), "{}", &good[..end]);
    }
}

#[test]
fn a_token_with_one_character_changed_is_refused() {
    let vm = start(&configuration(), &SharedData::default());
    let key = key("one");
    fetch(&vm, &[&key]);
    let good = token(&key);
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let (id, outcome) = request(&vm, std::str::from_utf8(&changed).unwrap());
        // A changed `kid` may make the request wait for a fetch.
        assert!(!matches!(outcome, Outcome::Forwarded(_)), "character {at}");
        vm.close(id);
    }
}
