/* The graph of all services: dependencies as boxes in columns, from the first step on the left to the services on the right. A dependency of
 * several services is one box, so the lines to it show who shares it. */

import {html, setAttributes, setText, svg} from './dom.js';
import {DEPENDENCY_STATES, SERVICE_STATES, SIGNS} from './words.js';

const BOX = {width: 184, height: 46};
const GAP = {x: 72, y: 14};
const ROW = BOX.height + GAP.y;
const MARGIN = 8;
const PASSES = 6;
const LABEL_MAX = 22;

/* The state of a box that belongs to several services is the liveliest of those who use it now. */
const LIVELINESS = ['stopped', 'pending', 'ready', 'starting', 'checking', 'failed'];
const LEGEND = ['asleep', 'pending', 'starting', 'checking', 'ready', 'failed'];

/* A container, a unit and a service may have the same name, and a service that another one depends on has a box as a dependency too. */
const boxId = (kind, name) => `${kind} ${name}`;
const serviceId = (name) => boxId('stack', name);

/** Boxes with their columns, and the lines between them. */
export function arrange({nodes, services}) {
    const boxes = new Map();
    const lines = new Map();
    const connect = (from, to) => lines.set(`${from}\n${to}`, {from, to});

    const idsOf = (service) => new Map(nodes.filter((node) => node.services.includes(service.name)).map(({kind, id}) => [id, boxId(kind, id)]));

    for (const {id, kind, shared, services: users} of nodes)
        boxes.set(boxId(kind, id), {id: boxId(kind, id), label: id, kind, shared, services: users, column: 0});
    for (const service of services) {
        const ids = idsOf(service);

        service.steps.forEach((step, i) => step.forEach((name) => {
            const box = boxes.get(ids.get(name));

            if (box)
                box.column = Math.max(box.column, i);
        }));
    }
    const last = Math.max(0, ...[...boxes.values()].map((box) => box.column)) + 1;
    services.forEach((service) => {
        const ids = idsOf(service), needed = new Set(service.edges.map((edge) => edge.to));

        boxes.set(serviceId(service.name), {id: serviceId(service.name), label: service.name, service: true, services: [service.name], column: last});
        for (const {from, to} of service.edges)
            connect(ids.get(to), ids.get(from));
        for (const name of service.steps.flat())
            if (!needed.has(name))
                connect(ids.get(name), serviceId(service.name));
    });
    return {boxes: [...boxes.values()], lines: [...lines.values()].filter(({from, to}) => boxes.has(from) && boxes.has(to)), columns: last + 1};
}

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

/* What hangs together, each part a list of boxes, in the order of the services. */
function components({boxes, lines}) {
    const part = new Map(boxes.map((box) => [box.id, [box]]));

    for (const {from, to} of lines) {
        const [one, other] = [part.get(from), part.get(to)];

        if (one === other)
            continue;
        one.push(...other);
        for (const box of other)
            part.set(box.id, one);
    }
    const order = (list) => Math.min(...list.map((box) => box.rank));
    return [...new Set(part.values())].sort((a, b) => order(a) - order(b));
}

/* Each box goes to the middle of those it is connected with, as far as the others of its column let it. */
function placeComponent(members, neighbours) {
    const columns = [...new Set(members.map((box) => box.column))].map((column) => members.filter((box) => box.column === column));

    for (const box of members)
        box.y = box.rank * ROW;
    for (let pass = 0; pass < PASSES; pass++)
        for (const column of columns) {
            let top = -Infinity;

            for (const box of column)
                box.wanted = neighbours.get(box.id).length > 0 ? mean(neighbours.get(box.id).map((other) => other.y)) : box.y;
            column.sort((a, b) => a.wanted - b.wanted || (a.id < b.id ? -1 : 1));
            for (const box of column) {
                box.y = Math.max(box.wanted, top);
                top = box.y + ROW;
            }
            /* Boxes were pushed down only: the column goes up again by what they were on average. */
            const pushed = mean(column.map((box) => box.y - box.wanted));
            for (const box of column)
                box.y -= pushed;
        }
}

function place(arranged, order) {
    const byId = new Map(arranged.boxes.map((box) => [box.id, box]));
    const neighbours = new Map(arranged.boxes.map((box) => [box.id, []]));
    let top = MARGIN;

    for (const {from, to} of arranged.lines) {
        neighbours.get(from).push(byId.get(to));
        neighbours.get(to).push(byId.get(from));
    }
    for (const box of arranged.boxes) {
        box.rank = box.services.length > 0 ? mean(box.services.map((name) => order.get(name) ?? 0)) : order.size;
        box.x = MARGIN + box.column * (BOX.width + GAP.x);
    }
    for (const members of components(arranged)) {
        placeComponent(members, neighbours);
        const first = Math.min(...members.map((box) => box.y));

        for (const box of members)
            box.y += top - first;
        top = Math.max(...members.map((box) => box.y)) + ROW + GAP.y;
    }
    return byId;
}

const shorten = (text) => text.length > LABEL_MAX ? `${text.slice(0, LABEL_MAX - 1)}…` : text;

export class Graph {
    constructor(container) {
        this.container = container;
        this.boxes = new Map();
    }

    /** A new configuration: everything is drawn anew. */
    show(graph) {
        const arranged = arrange(graph);
        const order = new Map(graph.services.map(({name}, i) => [name, i]));
        const byId = place(arranged, order);
        const width = arranged.columns * (BOX.width + GAP.x) - GAP.x + 2 * MARGIN;
        const height = Math.max(0, ...arranged.boxes.map((box) => box.y)) + BOX.height + MARGIN;

        this.boxes = new Map(arranged.boxes.map((box) => [box.id, {...box, ...this.drawBox(box)}]));
        this.lines = arranged.lines.map((line) => ({...line, element: this.drawLine(byId.get(line.from), byId.get(line.to))}));
        this.container.replaceChildren(svg('svg', {
            viewBox: `0 0 ${width} ${height.toFixed(0)}`, width, height: height.toFixed(0), role: 'img',
            'aria-label': `${graph.services.length} services and ${graph.nodes.length} dependencies. Each service's list above names its own.`,
        }, ...this.lines.map(({element}) => element), ...[...this.boxes.values()].map(({element}) => element)));
    }

    drawBox(box) {
        const state = svg('text', {x: 12, y: 36, class: 'box-state'});
        const who = box.shared ? `shared by ${box.services.join(', ')}` : box.services.join(', ');
        const frame = (inset) => svg('rect', {x: inset, y: inset, width: BOX.width - 2 * inset, height: BOX.height - 2 * inset, rx: box.service ? 23 - inset : 8 - inset});
        const element = svg('g', {class: `box${box.shared ? ' shared' : ''}${box.service ? ' service' : ''}`, transform: `translate(${box.x} ${box.y.toFixed(1)})`},
            svg('title', {}, box.service ? `service ${box.label}` : `${box.kind} ${box.label}, ${who}`),
            frame(0), box.shared ? frame(4) : null,
            svg('text', {x: 12, y: 19, class: 'box-name'}, shorten(box.label)), state);

        if (box.service)
            for (const text of element.querySelectorAll('text'))
                text.setAttribute('x', 20);
        return {element, state};
    }

    drawLine(from, to) {
        const [x1, y1] = [from.x + BOX.width, from.y + BOX.height / 2];
        const [x2, y2] = [to.x, to.y + BOX.height / 2];
        const bend = Math.max(GAP.x / 2, (x2 - x1) / 2);

        return svg('path', {class: 'line', d: `M${x1} ${y1.toFixed(1)}C${x1 + bend} ${y1.toFixed(1)} ${x2 - bend} ${y2.toFixed(1)} ${x2} ${y2.toFixed(1)}`});
    }

    /** New states, of all services. */
    update(services) {
        const states = new Map();

        for (const service of services.values()) {
            states.set(serviceId(service.name), service.state);
            if (service.state === 'asleep')
                continue;
            for (const {kind, container, state} of service.dependencies)
                if (LIVELINESS.indexOf(state) > LIVELINESS.indexOf(states.get(boxId(kind, container))))
                    states.set(boxId(kind, container), state);
        }
        for (const box of this.boxes.values()) {
            const state = states.get(box.id) ?? 'asleep';
            const word = (box.service ? SERVICE_STATES : DEPENDENCY_STATES)[state] ?? state;

            setAttributes(box.element, {'data-state': state});
            setText(box.state, `${SIGNS[state] ?? ''} ${word}${box.shared ? ` · shared by ${box.services.length}` : ''}`);
        }
        for (const {from, to, element} of this.lines ?? []) {
            const lit = states.get(from) === 'ready' && ['ready', 'starting', 'checking', 'awake'].includes(states.get(to));

            setAttributes(element, {class: lit ? 'line lit' : 'line'});
        }
    }
}

export function legend(list) {
    list.replaceChildren(...LEGEND.map((state) => html('li', {'data-state': state}, `${SIGNS[state]} ${DEPENDENCY_STATES[state] ?? state}`)));
}
