/* Keeps the page true while its service wakes, and opens the site when it is there. What arrives is written as text, never as markup. */
'use strict';

const body = document.body;
const {texts, states, reasons} = JSON.parse(body.dataset.words);
const find = (id) => document.getElementById(id);
const now = () => performance.now();

const FIRST_EVENT_MS = 8000;    /* what is silent longer holds events back, or is no stream of ours */
const SILENCE_MS = 60000;       /* a connection that died without a word */
const BUSY_MAX = 99;

/* The answer to another navigation of the same address is the site. Should it be this page again, the next try waits longer. */
let leaving = false;
function reload() {
    let pause = 0;

    if (leaving)
        return;
    leaving = true;
    source?.close();
    try {
        const {count = 0, time = 0} = JSON.parse(sessionStorage.getItem('wakechain') ?? '{}');
        const tries = Date.now() - time < 30000 ? count + 1 : 0;

        sessionStorage.setItem('wakechain', JSON.stringify({count: tries, time: Date.now()}));
        pause = tries ? Math.min(250 * 2 ** tries, 3000) : 0;
    } catch { /* storage may be denied */
        pause = 1000;
    }
    setTimeout(() => location.reload(), pause);
}

function left(ms) {
    let seconds = Math.ceil(ms / 1000);

    if (seconds < 2)
        return texts.LEFT_MOMENT;
    if (seconds > 10)
        seconds = Math.ceil(seconds / 5) * 5;
    return seconds < 90 ? texts.LEFT_SECONDS.replace('#', seconds) : texts.LEFT_MINUTES.replace('#', Math.ceil(seconds / 60));
}

/* A share in percent that goes on by itself between two events: as fast as the time left says, slower and slower towards the end, and
 * never back. */
class Course {
    constructor(percent, remaining, running) {
        this.shown = percent;
        this.update(percent, remaining, running);
    }

    update(percent, remaining, running, lateIn = Infinity) {
        Object.assign(this, {percent: Math.max(percent, this.shown), remaining, running, since: now(), lateAt: now() + lateIn});
    }

    value() {
        const cap = BUSY_MAX + 0.9;

        if (this.running && this.percent < cap && this.remaining > 0)
            this.shown = Math.max(this.shown, cap - (cap - this.percent) * Math.exp((this.since - now()) / this.remaining));
        else
            this.shown = Math.max(this.shown, this.percent);
        return Math.floor(this.shown);
    }

    left() {
        return now() < this.lateAt ? left(this.remaining - (now() - this.since)) : texts.LEFT_LONGER;
    }
}

const total = new Course(find('total').value, 0, false);
const parts = new Map();
const busy = (state) => state === 'starting' || state === 'checking';

for (const element of document.querySelectorAll('#parts li')) {
    const {key, state, remaining} = element.dataset;
    const part = {element, state, bar: element.querySelector('progress')};

    part.course = new Course(part.bar.value, Number(remaining), busy(state));
    part.name = element.querySelector('.name').textContent;
    parts.set(key, part);
}

const set = (element, text) => {
    if (element.textContent !== text)
        element.textContent = text;
};

function draw() {
    const percent = total.value();

    find('total').value = percent;
    set(find('percent'), String(percent));
    set(find('left'), total.running ? total.left() : '');
    for (const id of ['sun', 'glow'])
        find(id).setAttribute('cy', 96 - 56 * percent / 100);
    for (const part of parts.values()) {
        part.bar.value = part.course.value();
        set(part.element.querySelector('.left'), busy(part.state) ? part.course.left() : '');
    }
}

/* What changed, for those who do not see it: states only, numbers would never end. What comes together is said together. */
let news = [];
function announce(text) {
    if (news.push(text) === 1)
        setTimeout(() => {
            set(find('news'), news.join('. '));
            news = [];
        }, 200);
}

function headline(name, lead) {
    set(find('headline'), texts[name]);
    set(find('lead'), texts[lead]);
    document.title = `${find('title').textContent} ${texts[name]}`;
    announce(document.title);
    announce(texts[lead]);
}

function onDependency({container, status, progress, remainingMs, lateInMs, checkingMs, reason}) {
    const part = parts.get(String(container));
    const state = {error: 'failed', starting: checkingMs > 0 ? 'checking' : 'starting'}[status] ?? status;

    if (!part)
        return reload();
    /* A new wake begins at the beginning. */
    if (part.state === 'failed' && state !== 'failed')
        part.course.shown = 0;
    part.course.update(state === 'ready' ? 100 : Math.min(progress, BUSY_MAX), remainingMs ?? part.course.remaining, busy(state), lateInMs);
    part.reason = reason;
    if (state !== part.state && states[state]) {
        part.state = part.element.dataset.state = state;
        set(part.element.querySelector('.state'), states[state]);
        announce(`${part.name}: ${states[state]}`);
    }
}

function onReady() {
    total.update(100, 0, false);
    headline('READY', 'LEAD_READY');
    draw();
    reload();
}

/* An end that is not the site: why, and a way to try again. */
function onEnd(failed, {reason, retryAfterMs = 0}) {
    source.close();
    stopped = true;
    total.running = false;
    headline(failed ? 'FAILED' : 'ASLEEP', failed ? 'LEAD_FAILED' : 'LEAD_ASLEEP');
    find('failed').replaceChildren(...[...parts.values()].filter((part) => part.state === 'failed').map((part) => {
        const name = document.createElement('span');

        name.textContent = `${part.name} `;
        return name;
    }));
    set(find('reason'), reasons[reason] ?? '');
    document.querySelector('#failure dl').hidden = !failed || !reasons[reason];
    set(find('retry'), texts[failed ? 'RETRY' : 'WAKE']);
    find('course').hidden = true;
    find('failure').hidden = false;
    countDown(retryAfterMs);
}

let stopped = body.dataset.state === 'failed';
let begun = false;
function onService({state, progress, remainingMs, lateInMs, ...end}) {
    if (state === 'awake')
        return onReady();
    if (state === 'failed' || (state === 'asleep' && begun)) {
        body.dataset.state = state;
        return onEnd(state === 'failed', end);
    }
    /* Before a wake has begun the stream may say that it has not: the next one will know better. */
    begun ||= state === 'waking';
    body.dataset.state = state;
    total.update(Math.min(progress, BUSY_MAX), remainingMs ?? 0, state === 'waking', lateInMs);
}

let retryAt = 0;
function countDown(ms) {
    retryAt = now() + ms;
    const tick = () => {
        const seconds = Math.ceil((retryAt - now()) / 1000);

        set(find('retry-in'), seconds > 0 ? texts.RETRY_IN.replace('#', seconds) : '');
        if (seconds > 0)
            setTimeout(tick, 1000);
    };
    tick();
}

let source, watchdog, refused = 0;
function watch(ms) {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => stopped || reload(), ms);
}

function listen() {
    const on = (name, handler) => source.addEventListener(name, (event) => {
        let data;

        watch(SILENCE_MS);
        refused = 0;
        if (total.running && find('lead').textContent === texts.RECONNECTING)
            set(find('lead'), texts.LEAD_WAKING);
        try {
            data = JSON.parse(event.data);
        } catch {
            return;
        }
        handler(data);
        draw();
    });

    if (leaving || stopped)
        return;
    source = new EventSource(`/api/wake-status/${encodeURIComponent(body.dataset.service)}`);
    on('dependency-update', onDependency);
    on('service-update', onService);
    source.onerror = () => {
        if (leaving || stopped)
            return;
        if (source.readyState !== EventSource.CLOSED)
            return set(find('lead'), texts.RECONNECTING);
        /* What answered was no stream: once it may be an accident, twice it is the site, which has no such address. */
        if (++refused > 1)
            return reload();
        setTimeout(listen, 1000);
    };
    watch(FIRST_EVENT_MS);
}

find('retry').addEventListener('click', (event) => {
    /* With a fragment in the address, a link to it would only scroll. Before the pause is over it would show this page again. */
    event.preventDefault();
    setTimeout(() => location.reload(), Math.max(0, retryAt - now()));
});
window.addEventListener('pageshow', (event) => event.persisted && location.reload());

if (body.dataset.state === 'awake')
    reload();
else if (stopped)
    countDown(Number(find('retry-in').dataset.after) * 1000);
else {
    listen();
    setInterval(() => document.hidden || stopped || draw(), 1000);
}
