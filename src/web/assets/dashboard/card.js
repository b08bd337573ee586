/* One service: its state, what a person can do with it, and its last wake. */

import {html, setAttributes, setText} from './dom.js';
import {Timeline, elapsedOf} from './timeline.js';
import {SERVICE_STATES, SIGNS, age, reason} from './words.js';

const BUSY_MAX = 99;
const TRIGGERS = {connection: 'by a connection', manual: 'by hand', schedule: 'on schedule', prewarm: 'ahead of time', api: 'by the API', outside: 'by somebody else'};

export class Card {
    /** `act(name, what)` asks the server; it returns a promise of null, or of what went wrong in words. */
    constructor(service, act) {
        const id = `service-${service.name}`;

        this.act = act;
        this.state = html('span', {class: 'state'});
        this.since = html('span', {class: 'quiet'});
        this.bar = html('progress', {max: 100, value: 0, 'aria-label': `Progress of ${service.name}`});
        this.left = html('span', {class: 'quiet left'});
        this.course = html('div', {class: 'course', hidden: true}, this.bar, this.left);
        this.problem = html('p', {class: 'problem', hidden: true});
        this.answer = html('p', {class: 'problem', role: 'alert'});
        this.wake = html('button', {type: 'button', class: 'wake', onclick: () => this.ask('wake'), 'aria-describedby': id}, 'Wake');
        this.sleep = html('button', {type: 'button', class: 'sleep', onclick: () => this.ask('sleep'), 'aria-describedby': id}, 'Sleep');
        this.timeline = new Timeline();
        this.title = html('h3', {id, tabindex: -1});
        this.where = html('span', {class: 'where'});
        this.element = html('li', {class: 'card', 'data-service': service.name},
            html('div', {class: 'head'}, html('div', {class: 'names'}, this.title, this.where), this.state),
            this.since, this.course, this.problem, this.answer,
            html('div', {class: 'buttons'}, this.wake, this.sleep),
            html('div', {class: 'table', role: 'region', 'aria-label': `Timeline of ${service.name}`, tabindex: 0}, this.timeline.element));
    }

    async ask(what) {
        const button = this[what];

        /* Not "disabled", which would take the focus from it. */
        if (button.getAttribute('aria-disabled') === 'true')
            return;
        setText(this.answer, '');
        button.setAttribute('aria-disabled', 'true');
        setText(this.answer, await this.act(this.service.name, what) ?? '');
        button.removeAttribute('aria-disabled');
    }

    update(service) {
        /* A bar never runs backwards within one wake. */
        const same = this.service?.wakeId === service.wakeId && this.service?.state === 'waking';

        this.shown = same ? this.shown : 0;
        this.since_ms = performance.now();
        this.elapsed = elapsedOf(service);
        if (this.service?.title !== service.title || this.service?.port !== service.port)
            this.name(service);
        this.service = service;
        setAttributes(this.element, {'data-state': service.state});
        setText(this.state, `${SIGNS[service.state] ?? ''} ${SERVICE_STATES[service.state] ?? service.state}`);
        this.explain(service);
        this.offer(service);
        this.draw();
    }

    name({name, title, port}) {
        const address = new URL(location.href);

        setText(this.title, title || name);
        this.where.replaceChildren(title && title !== name ? html('span', {class: 'quiet'}, `${name} `) : '');
        if (!port)
            return;
        Object.assign(address, {protocol: 'http:', port, pathname: '/', search: '', hash: ''});
        this.where.append(html('a', {href: address.href, rel: 'noreferrer', 'aria-label': `Open ${name}, port ${port}`}, `:${port}`));
    }

    explain(service) {
        const failed = service.dependencies.filter((d) => d.state === 'failed' && d.type !== 'optional').map((d) => d.container);
        const what = failed.length > 0 ? `${failed.join(', ')}: ` : '';

        this.problem.hidden = service.state !== 'failed';
        setText(this.problem, service.state === 'failed' ? service.error || `${what}${reason(service.reason) || 'the reason is not known'}` : '');
    }

    /* A button that goes away under somebody's hands gives its focus to the heading. */
    offer({state, sleepAllowed}) {
        const focused = document.activeElement;

        this.wake.hidden = state !== 'asleep' && state !== 'failed';
        this.sleep.hidden = !sleepAllowed || (state !== 'awake' && state !== 'waking');
        if ((focused === this.wake || focused === this.sleep) && focused.hidden)
            (this.wake.hidden ? this.sleep.hidden ? this.title : this.sleep : this.wake).focus();
    }

    /** What changes with time alone; called now and then. */
    draw() {
        const {service} = this;
        const passed = performance.now() - this.since_ms;
        const waking = service.state === 'waking';
        const remaining = Math.max(0, (service.remainingMs ?? 0) - passed);
        const elapsed = this.elapsed + passed;
        const trigger = TRIGGERS[service.trigger];

        if (waking) {
            this.shown = Math.max(this.shown, Math.min(elapsed / Math.max(elapsed + remaining, 1) * 100, BUSY_MAX));
            this.bar.value = Math.floor(this.shown);
            setText(this.left, `${Math.floor(this.shown)}%, ${remaining > 1000 ? `about ${Math.ceil(remaining / 1000)} s left` : 'any moment now'}`);
        }
        this.course.hidden = !waking;
        const told = waking || (service.state === 'awake' && service.trigger === 'outside');
        setText(this.since, [age(service.since), told && trigger ? trigger : '', service.state === 'awake' && service.holders > 0 ? `held by ${service.holders}` : '']
            .filter((text) => text).join(', '));
        this.timeline.update(service, elapsed);
    }
}
