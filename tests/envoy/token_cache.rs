//! Tokens that come again, each on a connection that stays with its worker.

use serde_json::json;
use testbed::{Algorithm, KeptConnection, Stack};

use crate::support::{assert_refusal, call_on, with_direct_responses};

async fn count(stack: &Stack, result: &str) -> u64 {
    let text = stack.envoy.admin("/stats/prometheus").await;
    let name = format!("mcp_auth_token_cache{{result=\"{result}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |value| value.parse().unwrap())
}

/// A connection to a worker that already has its keys.
async fn connect(stack: &Stack) -> KeptConnection {
    let mut connection = KeptConnection::open(stack.envoy.address()).await.unwrap();
    assert_eq!(call_on(&mut connection, &stack.token()).await.status, 200);
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_token_is_recognised_and_no_other_is_mistaken_for_it() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let stack = with_direct_responses(Stack::builder().alone().workers(1)).start().await;
        stack.provider.rotate(algorithm);
        let mut connection = connect(&stack).await;
        let token = stack.token();
        for _ in 0..5 {
            assert_eq!(call_on(&mut connection, &token).await.status, 200);
        }
        assert_eq!((count(&stack, "hit").await, count(&stack, "miss").await), (4, 2));
        let (signed, _) = token.rsplit_once('.').unwrap();
        let (_, signature_of_another) = stack.token().rsplit_once('.').map(owned).unwrap();
        let forged = format!("{signed}.{signature_of_another}");
        for _ in 0..3 {
            assert_refusal(&call_on(&mut connection, &forged).await, "bad_signature");
        }
        assert_eq!((count(&stack, "hit").await, count(&stack, "miss").await), (6, 3));
        assert_eq!(call_on(&mut connection, &token).await.status, 200);
    }
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_use_token_is_spent_by_its_first_request_cached_or_not() {
    let builder = Stack::builder().workers(1).configure(|configuration| {
        configuration["providers"][0]["jti"] = json!("single_use");
    });
    let stack = with_direct_responses(builder).alone().start().await;
    let mut connection = connect(&stack).await;
    let token = stack.token();
    assert_eq!(call_on(&mut connection, &token).await.status, 200);
    for _ in 0..3 {
        assert_refusal(&call_on(&mut connection, &token).await, "jti_replayed");
    }
    assert_eq!(count(&stack, "hit").await, 3);
}
