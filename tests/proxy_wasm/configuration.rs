use crate::host::{SharedData, Vm};

#[test]
fn a_refused_configuration_is_refused_without_a_panic() {
    for configuration in [&b""[..], b"{}", b"\xff", b"null", b"[]", b"{\"resource\": 1"] {
        assert!(Vm::start(configuration, &SharedData::default()).is_none(), "{configuration:?}");
        assert!(crate::host::log().iter().all(|line| line.starts_with("configuration refused: ")));
        assert!(!crate::host::log().is_empty());
    }
}
