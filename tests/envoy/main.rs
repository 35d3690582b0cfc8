//! Real Envoy with the plugin.
#![allow(missing_docs)]

use testbed::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn smoke() {
    let stack = Stack::builder().start().await;
    let token = stack.provider.token(&stack.claims());
    let answer = stack.call(&token).await;
    println!("{:?} {}", answer.status, stack.envoy.log());
    assert_eq!(answer.status, 200);
    println!("{:?}", answer.whoami());
    let answer = stack.call_refused("a.b.c").await;
    println!("{answer:?}");
}
