/* The last wake of a service: a bar for each dependency, of what it waited for others, started, and was asked whether it is ready. */

import {html, setAttributes, setText, svg} from './dom.js';
import {DEPENDENCY_STATES, SIGNS, reason, seconds} from './words.js';

const PHASES = ['waiting', 'starting', 'checking'];
const WIDTH = 1000;
const SHORTEST = 4;     /* what is there can be seen */
const isBusy = ({state}) => state === 'starting' || state === 'checking';

/** How long the wake has been going on, from its progress: no clock is compared with another one. */
export function elapsedOf({state, progress, remainingMs}) {
    return state === 'waking' && progress > 0 && progress < 1 ? remainingMs * progress / (1 - progress) : 0;
}

/** [waiting, starting, checking] in ms, each its end; what has not been reached ends where the last one did. */
function phasesOf(dependency, elapsed) {
    const {startedMs, checkingMs, readyMs} = dependency;
    const now = isBusy(dependency) ? elapsed : 0;

    if (startedMs === null && readyMs === null)
        return [dependency.state === 'pending' ? elapsed : 0, 0, 0];
    const begin = startedMs ?? 0;
    const end = readyMs ?? Math.max(now, begin, checkingMs ?? 0);
    return [begin, checkingMs || end, end];
}

const ended = (dependencies) => Math.max(0, ...dependencies.map((d) => Math.max(d.readyMs ?? 0, d.checkingMs ?? 0, d.startedMs ?? 0)));

function describe({state, startedMs, readyMs, reason: why, error}) {
    if (state === 'failed')
        return error || reason(why) || 'the reason is not known';
    if (!readyMs)
        return '';
    return `${state === 'ready' ? '' : 'was ready '}in ${seconds(readyMs - (startedMs ?? 0))}`;
}

class Row {
    constructor(dependency) {
        const bar = (name) => svg('rect', {class: name, x: 0, y: 0, width: 0, height: 16});

        this.bars = PHASES.map(bar);
        this.state = html('span', {class: 'dependency-state'});
        this.note = html('span', {class: 'quiet'});
        this.spoken = html('span', {class: 'unseen'});
        this.element = html('tr', {},
            html('th', {scope: 'row'}, dependency.container, dependency.type === 'optional' ? html('span', {class: 'quiet'}, ' optional') : null),
            html('td', {class: 'bars'}, svg('svg', {viewBox: `0 0 ${WIDTH} 16`, preserveAspectRatio: 'none', 'aria-hidden': 'true'}, ...this.bars)),
            html('td', {}, this.state, ' ', this.note, this.spoken));
    }

    update(dependency, elapsed, total) {
        const spoken = [];
        let begin = 0;

        phasesOf(dependency, elapsed).forEach((end, i) => {
            const [x, width] = [begin / total * WIDTH, Math.max(0, end - begin) / total * WIDTH];

            setAttributes(this.bars[i], {x: x.toFixed(1), width: (width > 0 ? Math.max(width, SHORTEST) : 0).toFixed(1)});
            if (width > 0)
                spoken.push(`${PHASES[i]} ${seconds(end - begin)}`);
            begin = Math.max(begin, end);
        });
        setText(this.spoken, spoken.length > 0 ? `: ${spoken.join(', ')}` : '');
        setAttributes(this.element, {'data-state': dependency.state});
        setText(this.state, `${SIGNS[dependency.state] ?? ''} ${DEPENDENCY_STATES[dependency.state] ?? dependency.state}`);
        setText(this.note, describe(dependency));
    }
}

export class Timeline {
    constructor() {
        this.caption = html('caption');
        this.body = html('tbody');
        this.rows = new Map();
        this.element = html('table', {class: 'timeline'}, this.caption,
            html('thead', {class: 'unseen'}, html('tr', {}, ...['Dependency', 'Course', 'State'].map((name) => html('th', {scope: 'col'}, name)))),
            this.body);
    }

    update(service, elapsed) {
        const waking = service.state === 'waking';
        const length = waking ? Math.max(elapsed, ended(service.dependencies)) : ended(service.dependencies);
        /* While it lasts, the scale is that of what is expected, so that bars grow instead of shrinking. */
        const total = Math.max(length, waking ? service.estimateMs || 0 : 0, 1);

        if ([...this.rows.keys()].join('\n') !== service.dependencies.map((d) => d.container).join('\n')) {
            this.rows = new Map(service.dependencies.map((d) => [d.container, new Row(d)]));
            this.body.replaceChildren(...[...this.rows.values()].map((row) => row.element));
        }
        for (const dependency of service.dependencies)
            this.rows.get(dependency.container).update(dependency, length, total);
        if (waking)
            setText(this.caption, `This wake: ${seconds(length)} so far`);
        else
            setText(this.caption, length > 0 ? `Last wake: ${seconds(length)}` : 'No wake yet: this is the plan');
    }
}
