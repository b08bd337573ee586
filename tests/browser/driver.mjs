/* A browser for tests in another language: `node driver.mjs MODULES [OPTION…]` reads one command per line from its input, as JSON with a member "do", and
 * answers each with one line, {"value": …} or {"error": "…"}. It ends with its input. MODULES is the folder of node_modules;
 * the options are Chromium's.
 *
 * Pages run under their own Content-Security-Policy. What they say in the console, ask for and show is kept and told on request. */

import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {createInterface} from 'node:readline';

const require = createRequire(`${process.argv[2]}/`);
const {chromium} = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const ARGUMENTS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-dev-shm-usage',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/* In the page, before its own script: tells each text and attribute that changes, as a person would see it; and counts events. */
function observe() {
    const told = new Map();
    const tell = (kind, key, value) => {
        if (told.get(kind + key) !== value) {
            told.set(kind + key, value);
            window.wakechainTell({kind, key, value, at: performance.now()});
        }
    };
    const look = () => {
        for (const part of document.querySelectorAll('#parts li')) {
            tell('part', part.dataset.key, part.dataset.state);
            // The parser may stand between the two.
            const progress = part.querySelector('progress');
            if (progress)
                tell('partProgress', part.dataset.key, progress.value);
        }
        if (document.getElementById('total'))
            tell('total', '', document.getElementById('total').value);
        if (document.getElementById('lead'))
            tell('lead', '', document.getElementById('lead').textContent);
        tell('news', '', document.getElementById('news')?.textContent ?? '');
        tell('title', '', document.title);
    };

    new MutationObserver(look).observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
    document.addEventListener('DOMContentLoaded', look);

    window.wakechainEvents = 0;
    window.EventSource = class extends EventSource {
        constructor(...options) {
            super(...options);
            for (const name of ['dependency-update', 'service-update'])
                this.addEventListener(name, () => window.wakechainEvents++);
        }
    };
}

let browser, context, page;
let seen = [], requests = [], consoleLines = [];

const commands = {
    /** A new person: nothing is remembered of the last one. */
    async open({url, javascript = true, locale = 'en-GB', scheme = 'light', width = 800, height = 720, scale = 1, motion = 'no-preference'}) {
        await context?.close();
        context = await browser.newContext({
            javaScriptEnabled: javascript, locale, colorScheme: scheme, viewport: {width, height}, deviceScaleFactor: scale, reducedMotion: motion,
        });
        [seen, requests, consoleLines] = [[], [], []];
        page = await context.newPage();
        if (javascript) {
            await page.exposeFunction('wakechainTell', (what) => seen.push(what));
            await page.addInitScript(observe);
            await page.addInitScript(axe);
        }
        page.on('console', (message) => consoleLines.push(message.text()));
        page.on('pageerror', (error) => consoleLines.push(`error: ${error.stack}`));
        page.on('request', async (request) => {
            const told = {url: request.url(), type: request.resourceType(), navigation: request.isNavigationRequest(), headers: request.headers()};

            requests.push(told);
            told.headers = await request.allHeaders().catch(() => told.headers);
        });
        return commands.goto({url});
    },

    async goto({url}) {
        const response = await page.goto(url, {waitUntil: 'commit'});

        await page.waitForLoadState('domcontentloaded');
        return {status: response.status(), headers: await response.allHeaders()};
    },

    /** Waits until an expression is true in whatever page is shown by then. */
    async wait({expression, timeout = 60000}) {
        const deadline = Date.now() + timeout;
        let last;

        while (Date.now() < deadline) {
            try {
                last = await page.evaluate(expression);
                if (last)
                    return last;
            } catch (error) { /* a navigation took the page away */
                last = error.message;
            }
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
        throw new Error(`not within ${timeout} ms: ${expression} (${JSON.stringify(last)}) at ${page.url()}`);
    },

    /** Waits for a text in the page, without the page's help: works without JavaScript. */
    async waitText({text, timeout = 60000}) {
        await page.getByText(text).first().waitFor({timeout, state: 'attached'});
    },

    evaluate: ({expression}) => page.evaluate(expression),
    click: ({selector}) => page.click(selector, {timeout: 10000}),
    press: ({key}) => page.keyboard.press(key),
    text: ({selector}) => page.textContent(selector, {timeout: 10000}),
    state: async () => ({url: page.url(), title: await page.title()}),
    resize: ({width, height}) => page.setViewportSize({width, height}),
    recorded: () => ({seen, requests, console: consoleLines}),

    async screenshot({path, selector, fullPage = false}) {
        await (selector ? page.locator(selector) : page).screenshot({path, ...selector ? {} : {fullPage}, animations: 'disabled'});
    },

    /** What axe finds: [[rule, [what is wrong where, …]], …]. */
    async axe() {
        const {violations} = await page.evaluate('axe.run()');

        return violations.map(({id, nodes}) => [id, nodes.map(({html, failureSummary}) => `${html}: ${failureSummary}`)]);
    },
};

browser = await chromium.launch({executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...ARGUMENTS, ...process.argv.slice(3)]});
for await (const line of createInterface({input: process.stdin})) {
    const {do: name, ...options} = JSON.parse(line);
    let answer;

    try {
        answer = {value: await commands[name](options) ?? null};
    } catch (error) {
        answer = {error: error.stack};
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
