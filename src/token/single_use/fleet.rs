//! The shared store: Redis, called through webdis to set a key unless it exists.

use std::time::Duration;

use serde_json::json;

use super::NotSpent;
use super::single_use_token::SingleUseToken;
use crate::callout::{BodyLimit, CalloutFault, CalloutRequest, CalloutResponse, USER_AGENT};
use crate::json;
use crate::refusal::StoreFault;
use crate::time::UnixTime;

/// How webdis is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FleetStore {
    pub cluster: String,
    /// The host of the requests.
    pub authority: String,
    /// The path of the requests.
    pub path: String,
    /// How long to wait for a response.
    pub timeout: Duration,
}

impl FleetStore {
    /// Limit on responses; expected ones have at most 19 bytes.
    pub(crate) const RESPONSE_LIMIT: BodyLimit =
        BodyLimit { bytes: 1024, setting: "any response of webdis" };

    /// How much longer a token is recorded than this process could accept it, for processes whose
    /// clock is behind.
    const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
    /// How much longer than the timeout of the callout a request waits for it.
    const GRACE: Duration = Duration::from_secs(2);
    /// When a client should retry.
    const PAUSE: Duration = Duration::from_secs(1);

    /// The longest time that a request waits.
    #[must_use]
    pub(crate) fn max_wait(&self) -> Duration {
        self.timeout + Self::GRACE
    }

    /// The callout that spends a token that passed all other checks.
    #[must_use]
    pub(crate) fn request(
        &self,
        single_use_token: SingleUseToken,
        now: UnixTime,
    ) -> CalloutRequest {
        let lasts = single_use_token.expiry.time_left(now) + Self::CLOCK_TOLERANCE;
        let seconds = lasts.as_millis().div_ceil(1000);
        self.command(format!("SET/{}/1/NX/EX/{seconds}", Self::key(single_use_token)))
    }

    /// The callout that looks up whether a token was spent.
    #[must_use]
    pub(crate) fn look_up_request(&self, single_use_token: SingleUseToken) -> CalloutRequest {
        self.command(format!("EXISTS/{}", Self::key(single_use_token)))
    }

    fn key(single_use_token: SingleUseToken) -> String {
        format!("mcp-auth:jti:{}", single_use_token.digest)
    }

    /// A POST, because proxies neither retry nor cache those: a repeated command would find the
    /// token spent. Client input appears only as a digest.
    fn command(&self, command: String) -> CalloutRequest {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", &self.authority),
            (":path", &self.path),
            ("content-type", "application/x-www-form-urlencoded"),
            ("user-agent", USER_AGENT),
        ];
        CalloutRequest {
            cluster: self.cluster.clone(),
            fields: fields.map(|(name, value)| (name, value.to_owned())).into(),
            body: Some(command.into_bytes()),
            max_body: Self::RESPONSE_LIMIT.bytes,
        }
    }

    /// The result of spending a token. `response` is `None` if the callout failed.
    ///
    /// # Errors
    ///
    /// The token was spent before, or its state is unknown.
    pub(crate) fn spent(response: Option<CalloutResponse>) -> Result<(), NotSpent> {
        Self::read(response, &json!({"SET": [true, "OK"]}), &json!({"SET": null}))
    }

    /// The result of looking up a token. `response` is `None` if the callout failed.
    ///
    /// # Errors
    ///
    /// The token was spent, or its state is unknown.
    pub(crate) fn looked_up(response: Option<CalloutResponse>) -> Result<(), NotSpent> {
        Self::read(response, &json!({"EXISTS": 0}), &json!({"EXISTS": 1}))
    }

    fn read(
        response: Option<CalloutResponse>,
        unspent: &serde_json::Value,
        spent: &serde_json::Value,
    ) -> Result<(), NotSpent> {
        let response = CalloutResponse::checked(response, &[200], Self::RESPONSE_LIMIT)
            .map_err(|fault| Self::unknown(StoreFault::Callout(fault)))?;
        match json::parse_strict(&response.body) {
            Ok(said) if said == *unspent => Ok(()),
            Ok(said) if said == *spent => Err(NotSpent::AlreadySpent),
            _ => Err(Self::unknown(StoreFault::Unclear { response: response.beginning() })),
        }
    }

    /// The callout could not be made.
    #[must_use]
    pub(crate) fn not_dispatched(&self) -> NotSpent {
        Self::unknown(StoreFault::Callout(CalloutFault::Dispatch { cluster: self.cluster.clone() }))
    }

    /// The request has waited too long.
    #[must_use]
    pub(crate) fn too_late() -> NotSpent {
        Self::unknown(StoreFault::Callout(CalloutFault::NoResponse))
    }

    /// The request cannot wait, because too many others do.
    #[must_use]
    pub(crate) fn crowded() -> NotSpent {
        Self::unknown(StoreFault::Crowded)
    }

    fn unknown(fault: StoreFault) -> NotSpent {
        NotSpent::Unknown { retry_after: Self::PAUSE, fault }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn store() -> FleetStore {
        FleetStore {
            cluster: "webdis".to_owned(),
            authority: "store.example".to_owned(),
            path: "/spent/".to_owned(),
            timeout: Duration::from_secs(3),
        }
    }

    fn command(single_use_token: SingleUseToken, now: UnixTime) -> String {
        String::from_utf8(store().request(single_use_token, now).body.unwrap()).unwrap()
    }

    /// The number of seconds for which a token with this last use is recorded.
    fn seconds(last_use: UnixTime, now: UnixTime) -> u64 {
        let command = command(SingleUseToken::new("https://id.example.com", "1", last_use), now);
        command.rsplit('/').next().unwrap().parse().unwrap()
    }

    fn response(status: u16, body: &str) -> CalloutResponse {
        CalloutResponse {
            status: Some(status),
            body_length: body.len(),
            body: body.as_bytes().to_vec(),
            ..CalloutResponse::default()
        }
    }

    /// The cause as logged for the operator.
    fn cause(response: Option<CalloutResponse>) -> String {
        match FleetStore::spent(response) {
            Err(NotSpent::Unknown { fault, retry_after }) => {
                assert_eq!(retry_after, Duration::from_secs(1));
                fault.to_string()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_makes_redis_record_the_token_if_absent() {
        let last_use = UnixTime::from_secs(NOW + 100);
        let single_use_token = SingleUseToken::new("https://id.example.com", "1", last_use);
        let request = store().request(single_use_token, UnixTime::from_secs(NOW));
        assert_eq!(request.cluster, "webdis");
        let expected = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "store.example"),
            (":path", "/spent/"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("user-agent", concat!("mcp-federated-auth/", env!("CARGO_PKG_VERSION"))),
        ];
        assert_eq!(request.fields, expected.map(|(name, value)| (name, value.to_owned())));
        // The processes of a fleet agree on this digest, so it must not change.
        let digest = "dd335cae633d256e46ef98a8401636ab";
        let expected = format!("SET/mcp-auth:jti:{digest}/1/NX/EX/161");
        assert_eq!(String::from_utf8(request.body.unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_token_is_recorded_until_a_minute_after_its_last_use() {
        let second = Duration::from_secs(1);
        let now = UnixTime::from_secs(NOW);
        assert_eq!(seconds(now, now), 61);
        assert_eq!(seconds(now + second, now), 62);
        // Rounded up, and never 0, whatever the clock says.
        assert_eq!(seconds(now, now + Duration::from_millis(1)), 61);
        assert_eq!(seconds(now, now + Duration::from_millis(999)), 61);
        assert_eq!(seconds(now, now + second), 60);
        assert_eq!(seconds(now, UnixTime::from_secs(u64::MAX)), 60);
        // A token that never expires is recorded for very long, but within the range that Redis
        // accepts.
        for now in [now, UnixTime::from_secs(u64::MAX), UnixTime::default()] {
            assert_eq!(seconds(UnixTime::from_secs(u64::MAX), now), u64::from(u32::MAX) + 60);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn the_command_contains_nothing_chosen_by_a_client_or_provider(
            issuer in ".*",
            token_id in ".*",
            last_use in any::<u64>(),
            now in any::<u64>(),
        ) {
            let single_use_token = SingleUseToken::new(&issuer, &token_id, UnixTime::from_secs(last_use));
            let command = command(single_use_token, UnixTime::from_secs(now));
            let parts: Vec<_> = command.split('/').collect();
            let [set, key, one, nx, ex, seconds] = parts[..] else { panic!("{command}") };
            prop_assert_eq!([set, one, nx, ex], ["SET", "1", "NX", "EX"]);
            let digest = key.strip_prefix("mcp-auth:jti:").unwrap();
            prop_assert_eq!(digest.len(), 32);
            prop_assert!(digest.bytes().all(|byte| b"0123456789abcdef".contains(&byte)));
            // Redis accepts milliseconds that, added to its clock, fit into an i64.
            prop_assert!((60..10_000_000_000).contains(&seconds.parse::<u64>().unwrap()));
        }

        #[test]
        fn only_one_response_lets_a_token_pass(
            status in prop_oneof![3 => Just(200), 1 => any::<u16>()],
            body in prop_oneof![".*", r#"\{"SET":(null|\[?(true|false)(,"(OK|ok)")?\]?)\}"#],
        ) {
            let is_right = status == 200 && body == r#"{"SET":[true,"OK"]}"#;
            prop_assert_eq!(FleetStore::spent(Some(response(status, &body))).is_ok(), is_right);
        }
    }

    #[test]
    fn webdis_reports_whether_the_token_was_spent_before() {
        assert_eq!(FleetStore::spent(Some(response(200, r#"{"SET":[true,"OK"]}"#))), Ok(()));
        let again = FleetStore::spent(Some(response(200, r#"{"SET":null}"#)));
        assert_eq!(again, Err(NotSpent::AlreadySpent));
    }

    #[test]
    fn any_other_response_is_a_named_fault_of_the_store() {
        let words = |text: &str| format!("the store says {text:?}");
        for said in [
            r#"{"SET":[false,"READONLY You can't write against a read only replica."]}"#,
            r#"{"SET":[false,"OOM command not allowed when used memory > 'maxmemory'."]}"#,
            r#"{"SET":[false,"NOAUTH Authentication required."]}"#,
            r#"{"SET":[false,"OK"]}"#,
            r#"{"SET":[true,"QUEUED"]}"#,
            r#"{"SET":[true]}"#,
            r#"{"SET":[true,"OK"],"SET":[true,"OK"]}"#,
            r#"{"SET":[true,"OK"],"GET":null}"#,
            r#"{"SET":null,"SET":[true,"OK"]}"#,
            r#"{"GET":null}"#,
            r#"{"SET":"OK"}"#,
            r#"{"SET":true}"#,
            "{}",
            "null",
            "true",
            "+OK",
            "",
        ] {
            assert_eq!(cause(Some(response(200, said))), words(said));
        }
        let long = "x".repeat(1024);
        assert_eq!(cause(Some(response(200, &long))), words(&long[..240]));
        let longer = "x".repeat(1025);
        let expected = "the response is longer than any response of webdis, 1024 bytes";
        assert_eq!(cause(Some(response(200, &longer))), expected);
        for status in [201, 204, 302, 304, 403, 500, 503] {
            let expected = format!("the response has status {status} and says \"no\"");
            assert_eq!(cause(Some(response(status, "no"))), expected);
        }
        let nameless = CalloutResponse { status: None, ..response(200, r#"{"SET":[true,"OK"]}"#) };
        assert_eq!(cause(Some(nameless)), "the response has no status");
        assert_eq!(cause(None), "no response (timeout, reset or no connection)");
        let cut = CalloutResponse { body_length: 20, ..response(200, r#"{"SET":[true,"OK"]}"#) };
        assert_eq!(cause(Some(cut)), "no response (timeout, reset or no connection)");
    }
}
