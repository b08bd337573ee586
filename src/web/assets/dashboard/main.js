/* The dashboard: asks once what there is, then lives on events. */

import {Card} from './card.js';
import {setText} from './dom.js';
import {Graph, legend} from './graph.js';
import {SERVICE_STATES} from './words.js';

const RETRY_MS = 3000;
const find = (id) => document.getElementById(id);
const services = new Map();
const cards = new Map();
const graph = new Graph(find('graph'));

async function ask(path, options) {
    const response = await fetch(path, options);
    const body = await response.json().catch(() => ({}));

    if (!response.ok)
        throw new Error(body.error || `The server answered ${response.status}.`);
    return body;
}

async function act(name, what) {
    try {
        await ask(`/api/${what}/${encodeURIComponent(name)}`, {method: 'POST'});
        return null;
    } catch (error) {
        return error instanceof TypeError ? 'The server cannot be reached.' : error.message;
    }
}

function summarise() {
    const count = (state) => [...services.values()].filter((service) => service.state === state).length;
    const parts = Object.entries(SERVICE_STATES).map(([state, words]) => [count(state), words]).filter(([n]) => n > 0);
    const locked = [...services.values()].some((service) => !service.sleepAllowed);

    setText(find('summary'), parts.map(([n, words]) => `${n} ${words}`).join(', '));
    find('note').hidden = services.size > 0 && !locked;
    setText(find('note'), services.size === 0 ? 'There are no services yet: dependencies.json names none.' :
        locked ? 'Putting to sleep is not allowed from here. “wakectl sleep NAME” does it, or this page after “sleepOverTcp” of “api” in dependencies.json.' : '');
}

function show(service) {
    const {name, title, state} = service;
    const before = services.get(name)?.state;

    if (!cards.has(name))
        return void load();
    services.set(name, service);
    cards.get(name).update(service);
    graph.update(services);
    summarise();
    if (before && before !== state)
        setText(find('news'), `${title || name}: ${SERVICE_STATES[state] ?? state}`);
}

/* All of it, at the beginning and when the configuration has changed. What stays keeps its place on the screen and the focus. */
let loading = false;
async function load() {
    if (loading)
        return;
    loading = true;
    try {
        const [list, drawing] = await Promise.all([ask('/api/services'), ask('/api/graph')]);
        const names = new Set(list.services.map(({name}) => name));

        for (const [name, card] of cards)
            if (!names.has(name)) {
                card.element.remove();
                cards.delete(name);
                services.delete(name);
            }
        for (const service of list.services) {
            if (!cards.has(service.name))
                cards.set(service.name, new Card(service, act));
            services.set(service.name, service);
            cards.get(service.name).update(service);
        }
        list.services.forEach(({name}, i) => {
            const {element} = cards.get(name);

            if (find('services').children[i] !== element)
                find('services').insertBefore(element, find('services').children[i] ?? null);
        });
        graph.show(drawing);
        graph.update(services);
        find('key').hidden = services.size === 0;
        find('graph-section').hidden = drawing.nodes.length === 0;
        summarise();
        connected('');
    } catch (error) {
        connected(error instanceof TypeError ? 'The server cannot be reached, trying again…' : error.message);
        setTimeout(load, RETRY_MS);
    } finally {
        loading = false;
    }
}

function connected(problem) {
    setText(find('connection'), problem);
}

function listen() {
    const source = new EventSource('/api/events');

    source.addEventListener('service', ({data}) => {
        show(JSON.parse(data));
        connected('');
    });
    source.addEventListener('config', () => load());
    source.addEventListener('error', () => {
        connected('Connection lost, trying again…');
        if (source.readyState === EventSource.CLOSED)
            setTimeout(listen, RETRY_MS);
    });
    /* What was missed meanwhile. */
    let again = false;
    source.addEventListener('open', () => {
        if (again)
            load();
        again = true;
        connected('');
    });
}

legend(find('legend'));
await load();
listen();
setInterval(() => {
    if (!document.hidden)
        for (const card of cards.values())
            card.draw();
}, 1000);
