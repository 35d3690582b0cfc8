//! The last refusals.

use super::*;

#[test]
fn a_flood_of_refusals_is_one_write_per_half_second() {
    let config = example();
    let board = TestBoard::default();
    let mut heartbeat_writer = HeartbeatWriter::new(&config);
    run(&mut heartbeat_writer, &board, &[], at(0));
    let before = *board.writes.borrow();
    for tick in 0..50 {
        let now = at(1) + Duration::from_millis(20 * tick);
        for index in 0..100 {
            let details = json!({"kid": format!("{tick}-{index}")});
            heartbeat_writer
                .note(Reason::UnknownKid, record(&heartbeat_writer, Some("demo"), details, now));
        }
        run(&mut heartbeat_writer, &board, &[], now);
    }
    assert_eq!(*board.writes.borrow() - before, 2);
}

#[test]
fn refusals_written_meanwhile_by_another_worker_are_kept() {
    let config = example();
    let board = TestBoard::default();
    let (mut one, mut other) = (HeartbeatWriter::new(&config), HeartbeatWriter::new(&config));
    for (heartbeat_writer, kid) in [(&mut one, "a"), (&mut other, "b")] {
        heartbeat_writer.note(
            Reason::UnknownKid,
            record(heartbeat_writer, Some("demo"), json!({"kid": kid}), at(1)),
        );
        run(heartbeat_writer, &board, &[], at(1));
    }
    let kids: Vec<Value> = Status::gather(&board, at(2)).refusals[0]
        .last
        .iter()
        .map(|value| value.details["kid"].clone())
        .collect();
    assert_eq!(kids, ["b", "a"]);
}

#[test]
fn the_key_that_a_token_names_is_shown_next_to_the_published_ones() {
    let config = example();
    let board = board_with(&config, &state(Value::Null, published()), &[key("new")], at(0));
    let mut heartbeat_writer = HeartbeatWriter::new(&config);
    for (kid, seconds) in [("new", 1), ("mine", 2), ("gone", 3)] {
        let details = json!({"kid": kid, "published": ["old"]});
        heartbeat_writer.note(
            Reason::UnknownKid,
            record(&heartbeat_writer, Some("demo"), details, at(seconds)),
        );
    }
    run(&mut heartbeat_writer, &board, &[], at(10));
    let status = Status::gather(&board, at(10));
    let shown: Vec<_> = status.refusals[0]
        .last
        .iter()
        .map(|value| (value.details["kid"].as_str(), value.keys_now.clone(), value.hint.is_some()))
        .collect();
    let now = Some(vec!["new".to_owned()]);
    let expected = [
        (Some("gone"), now.clone(), false),
        (Some("mine"), now.clone(), true),
        (Some("new"), now, true),
    ];
    assert_eq!(shown, expected);
    let page = page::html(&status);
    assert!(page.contains("<dt>Token’s kid</dt><dd><code>gone</code></dd>"), "{page}");
    assert!(page.contains("<dt>Published now</dt><dd><code>new</code></dd>"), "{page}");
    assert!(page.contains("The provider own publishes this key"), "{page}");
}

#[test]
fn near_misses_are_named() {
    let config = example();
    for (reason, details, words) in [
        (
            Reason::UnknownIssuer,
            json!({"iss": "https://id.example.com/", "configured": ["https://id.example.com"]}),
            Some("slash at the end"),
        ),
        (
            Reason::UnknownIssuer,
            json!({
                "iss": "https://sts.windows.net/t/",
                "configured": ["https://login.microsoftonline.com/t/v2.0"],
            }),
            Some("requestedAccessTokenVersion"),
        ),
        (
            Reason::UnknownIssuer,
            json!({"iss": "https://else.example", "configured": ["https://a"]}),
            None,
        ),
        (Reason::UnknownIssuer, json!({"iss": null, "configured": []}), None),
        (
            Reason::AudienceMismatch,
            json!({"aud": ["api://x"], "configured": ["x"]}),
            Some("api://x is the same"),
        ),
        (Reason::AudienceMismatch, json!({"aud": ["y"], "configured": ["x"]}), None),
        (Reason::Expired, json!({"seconds_ago": 3}), None),
    ] {
        let board = TestBoard::default();
        let mut heartbeat_writer = HeartbeatWriter::new(&config);
        heartbeat_writer.note(reason, record(&heartbeat_writer, None, details.clone(), at(0)));
        run(&mut heartbeat_writer, &board, &[], at(0));
        let status = Status::gather(&board, at(0));
        let hint = status.refusals[0].last[0].hint.clone();
        assert_eq!(hint.is_some(), words.is_some(), "{details}");
        assert!(hint.unwrap_or_default().contains(words.unwrap_or_default()), "{details}");
    }
}

#[test]
fn client_input_is_escaped() {
    let hostile = "</code><script>alert(1)</script>\0\u{1b}[2J\u{202e}\"'&";
    let config = example();
    let board = TestBoard::default();
    let mut heartbeat_writer = HeartbeatWriter::new(&config);
    let details = json!({"kid": hostile, "published": [hostile], hostile: hostile});
    heartbeat_writer
        .note(Reason::UnknownKid, record(&heartbeat_writer, Some(hostile), details, at(0)));
    run(&mut heartbeat_writer, &board, &[], at(0));
    let status = Status::gather(&board, at(0));
    let page = page::html(&status);
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains(
        "&lt;script&gt;alert(1)&lt;/script&gt;\\u{0}\\u{1b}[2J\\u{202e}&quot;&#39;&amp;"
    ));
    let is_plain = |character: char| character == '\n' || !character.is_control();
    assert!(page.chars().all(is_plain));
    let json: Value = serde_json::to_value(&status).unwrap();
    assert_eq!(json["refusals"][0]["last"][0]["details"]["kid"], hostile);
    assert!(serde_json::to_string_pretty(&status).unwrap().chars().all(is_plain));
}
