//! The page of the gateway in a real browser: on a phone and a desktop, in light and dark, with the
//! keyboard only. The browser itself sets the fetch metadata and keeps the cookies.

use serde_json::json;
use testbed::{Colours, LoginClient, OfficialSdk, SeenLogin, log_in_by_page};

use crate::support::{READ, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_with_the_keyboard_on_a_phone_and_on_a_desktop() {
    let scene = Scene::builder(OfficialSdk::TypeScriptV1).login_through_gateway(json!({}));
    let scene = scene.start().await;
    let mut client = LoginClient::discover(&scene.url(), scene.stack.envoy.address()).await;
    client.register().await;
    let mut colours = Vec::new();
    for (scheme, width) in [("light", 360), ("dark", 360), ("light", 1280), ("dark", 1280)] {
        let client = client.for_new_login();
        let url = client.authorization_url(READ);
        let page = log_in_by_page(&url, &client.redirect_uri, "ada", scheme, width).await;
        assert_eq!(page.complaints, Vec::<String>::new(), "{page:?}");
        assert_eq!(page.requests, [url], "it loads nothing");
        assert!(!page.is_wider_than_window, "{scheme} {width}: {page:?}");
        for words in ["A client of the tests", "127.0.0.1", READ, scene.url().as_str()] {
            assert!(page.text.contains(words), "{words}: {page:?}");
        }
        assert_eq!((page.language.as_str(), page.landmarks), ("en", 1), "{page:?}");
        assert_eq!(page.headings.len(), 1, "{page:?}");
        assert!(page.title.starts_with("Sign in to "), "{page:?}");
        assert_eq!(page.buttons.len(), 2, "{page:?}");
        assert_eq!(page.buttons[0], page.focused, "{page:?}");
        assert!(page.smallest_button >= 44.0, "{page:?}");
        colours.push(page.body);
        let response = SeenLogin::at(&page.callback);
        let issued = client.redeem(&client.code(&response)).await;
        let token = issued.body["access_token"].as_str().unwrap_or_default();
        let session = scene.stack.session(token).await.unwrap();
        assert!(session.tools().await.unwrap().iter().any(|tool| tool == "whoami"));
        session.close().await;
    }
    let [light, dark, light_too, dark_too] = &colours[..] else { panic!("{colours:?}") };
    assert_eq!((light, dark), (light_too, dark_too));
    assert!(brightness(light) > brightness(dark), "{colours:?}");
}

/// The brightness of the background, from 0 to 765.
fn brightness(colours: &Colours) -> u32 {
    let numbers = colours.ground.split(|character: char| !character.is_ascii_digit());
    numbers.filter_map(|number| number.parse::<u32>().ok()).take(3).sum()
}
