// A person who opens a web page in headless Chromium, and the browser's complaints about it.
//
// It is started with one argument, JSON:
//   url       the page
//   scheme    the colours that the person prefers: light or dark
//   width     of the window, in pixels
//   chromium  the browser's program
//
// It prints one line of JSON.
import { launch } from './chromium.mjs';

const options = JSON.parse(process.argv[2]);

const browser = await launch(options.chromium);
try {
  const page = await browser.newPage({
    colorScheme: options.scheme,
    viewport: { width: options.width, height: 900 },
  });
  const requests = [];
  const complaints = [];
  page.on('request', (request) => requests.push(request.url()));
  page.on('requestfailed', (request) => complaints.push(`failed: ${request.url()}`));
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    return dialog.dismiss();
  });
  await page.goto(options.url, { waitUntil: 'networkidle' });
  const seen = await page.evaluate(() => {
    const colours = (element) => {
      const { backgroundColor, color } = getComputedStyle(element);
      return { ground: backgroundColor, text: color };
    };
    return {
      title: document.title,
      text: document.body.innerText,
      body: colours(document.body),
      is_wider_than_window: document.documentElement.scrollWidth > innerWidth,
    };
  });
  process.stdout.write(`${JSON.stringify({ ...seen, requests, complaints })}\n`);
} finally {
  await browser.close();
}
