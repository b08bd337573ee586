/* What states, reasons and times are called. */

export const SERVICE_STATES = {
    asleep: 'asleep', waking: 'waking up', awake: 'awake', stopping: 'going to sleep', failed: 'failed to wake',
};

export const DEPENDENCY_STATES = {
    pending: 'waiting', starting: 'starting', checking: 'checking', ready: 'ready', failed: 'failed', stopped: 'stopped',
};

/* Each state has a sign of its own too: colours are not seen by all. */
export const SIGNS = {
    asleep: '☾', waking: '◐', awake: '●', stopping: '◑', failed: '✕',
    pending: '○', starting: '◔', checking: '◐', ready: '●', stopped: '☾',
};

const REASONS = {
    health_check_failed: 'it started, but did not become ready in time',
    start_failed: 'it could not be started',
    container_exited: 'it started and ended again',
    not_found: 'it does not exist on this server',
    image_missing: 'its image is missing on this server',
    port_conflict: 'a port that it needs is taken',
    network_missing: 'a network that it needs is missing',
    engine_unavailable: 'the container engine does not answer',
    global_timeout: 'all of it together took too long',
    dependency_cycle: 'its parts wait for each other',
    config_invalid: 'its configuration is not valid',
};

export const reason = (name) => REASONS[name] ?? (name ? String(name) : '');

export function seconds(ms) {
    if (ms < 9950)
        return `${(ms / 1000).toFixed(1)} s`;
    if (ms < 90000)
        return `${Math.round(ms / 1000)} s`;
    return `${Math.floor(ms / 60000)} min ${Math.round(ms % 60000 / 1000)} s`;
}

const AGES = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];
const ages = new Intl.RelativeTimeFormat('en', {numeric: 'auto'});

/** "5 minutes ago", of a timestamp; '' if it is none. */
export function age(timestamp) {
    const passed = (Date.now() - Date.parse(timestamp)) / 1000;

    if (!Number.isFinite(passed) || Date.parse(timestamp) <= 0)
        return '';
    if (passed < 10)
        return 'just now';
    const [unit, size] = AGES.find(([, s]) => passed >= s);
    return ages.format(-Math.floor(passed / size), unit);
}
