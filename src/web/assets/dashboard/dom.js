/* Elements are made here and nowhere else: what a server says becomes text and attributes, never markup. */

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes))
        if (name.startsWith('on'))
            element.addEventListener(name.slice(2), value);
        else if (value === true)
            element.setAttribute(name, '');
        else if (value !== false && value !== null && value !== undefined)
            element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
}

/** An HTML element. Attributes that begin with "on" are listeners. */
export const html = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);

/** An SVG element. */
export const svg = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

/** Changes a text only if it is another, so that nothing is selected, read out or painted anew. */
export function setText(element, text) {
    if (element.textContent !== text)
        element.textContent = text;
}

export function setAttributes(element, attributes) {
    for (const [name, value] of Object.entries(attributes))
        if (element.getAttribute(name) !== String(value))
            element.setAttribute(name, value);
}
