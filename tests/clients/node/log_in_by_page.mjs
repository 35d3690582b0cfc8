// A person with a real browser, headless Chromium, who logs in on the page of the gateway with the
// keyboard only.
//
// It is started with one argument, JSON:
//   url           the authorization URL of a client
//   redirect_url  where the client waits for the person
//   person        the name of the user who logs in
//   scheme        the colours that the person prefers: light or dark
//   width         of the window, in pixels
//   screenshot    a file for a picture of the page; none if it is absent
//   chromium      the browser's program
//
// It prints one line of JSON: the properties of the page, and the URL to which the browser came
// back.
import { launch } from './chromium.mjs';

const options = JSON.parse(process.argv[2]);

const browser = await launch(options.chromium);
try {
  const page = await browser.newPage({
    colorScheme: options.scheme,
    viewport: { width: options.width, height: 800 },
  });
  page.setDefaultTimeout(30_000);
  const requests = [];
  const complaints = [];
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => requests.push(request.url()));
  await page.route(`${options.redirect_url}*`, (route) => route.fulfill({ body: 'done' }));
  await page.goto(options.url, { waitUntil: 'networkidle' });
  if (options.screenshot) {
    await page.screenshot({ path: options.screenshot, fullPage: true });
  }
  const seen = await look(page);
  const ofPage = requests.splice(0);
  // The first button belongs to the only provider.
  await page.keyboard.press('Tab');
  const focused = await page.evaluate(() => document.activeElement.innerText);
  await page.keyboard.press('Enter');
  await page.waitForSelector('input[name="login"]');
  await page.fill('input[name="login"]', options.person);
  await page.keyboard.press('Enter');
  await page.waitForSelector('button:text("Allow")');
  await page.click('button:text("Allow")');
  await page.waitForURL((url) => url.href.startsWith(options.redirect_url));
  const report = { ...seen, focused, requests: ofPage, complaints, callback: page.url() };
  process.stdout.write(`${JSON.stringify(report)}\n`);
} finally {
  await browser.close();
}

async function look(page) {
  return page.evaluate(() => {
    const { backgroundColor, color } = getComputedStyle(document.body);
    const buttons = [...document.querySelectorAll('button')];
    return {
      title: document.title,
      text: document.body.innerText,
      body: { ground: backgroundColor, text: color },
      is_wider_than_window: document.documentElement.scrollWidth > innerWidth,
      language: document.documentElement.lang,
      // As a screen reader lists them.
      headings: [...document.querySelectorAll('h1, h2')].map((heading) => heading.innerText),
      landmarks: document.querySelectorAll('main').length,
      buttons: buttons.map((button) => button.innerText),
      // Large enough to touch with a finger.
      smallest_button: Math.min(...buttons.map((button) => button.getBoundingClientRect().height)),
    };
  });
}
