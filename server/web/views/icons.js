import { svg } from './dom.js';

const PATHS = {
  back: ['M15 5l-7 7 7 7'],
  plus: ['M12 5v14', 'M5 12h14'],
  send: ['M4.5 12h9', 'M4.5 4.6l15.5 7.4-15.5 7.4 2-7.4z'],
  check: ['M5 12.5l4.5 4.5L19 7.5'],
  close: ['M6 6l12 12', 'M18 6L6 18'],
  more: ['M6 12h.01', 'M12 12h.01', 'M18 12h.01'],
  copy: ['M9 9h10v11H9z', 'M15 9V4H5v11h4'],
  edit: ['M5 19l.8-3.8L16.5 4.5l3 3L8.8 18.2z', 'M14 7l3 3'],
  trash: ['M5 7h14', 'M10 7V4.5h4V7', 'M7 7l.8 12.5h8.4L17 7', 'M10.5 11v5', 'M13.5 11v5'],
  retry: ['M19 12a7 7 0 1 1-2.2-5.1', 'M19 4v4.2h-4.2'],
  down: ['M12 5v14', 'M6 13l6 6 6-6'],
  leave: ['M14 5H6v14h8', 'M11 12h9', 'M16.5 8.5L20 12l-3.5 3.5'],
  search: ['M11 5a6 6 0 1 0 0 12a6 6 0 1 0 0-12', 'M15.5 15.5L20 20'],
  alert: ['M12 8v5', 'M12 16.5h.01', 'M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17'],
  lock: ['M7 11h10v8H7z', 'M9 11V8a3 3 0 0 1 6 0v3'],
  pin: ['M9 4h6l-1 6 3 3H7l3-3z', 'M12 13v7'],
  clock: ['M12 4a8 8 0 1 0 0 16a8 8 0 1 0 0-16', 'M12 8v4.3l2.8 1.7'],
};

/** A line icon; decoration only, so the control it sits in must say what it does. */
export function icon(name, className = 'icon') {
  const lines = PATHS[name].map((d) => svg('path', { d }));
  return svg('svg', { class: className, viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false' }, ...lines);
}

const TICKS = { sent: ['M4 8.5l3 3 6-7'], delivered: ['M1.5 8.5l3 3 6-7', 'M8.2 10.9l.6.6 6-7'] };
TICKS.read = TICKS.delivered;

/** One tick: stored; two: received; two in colour and heavier: read. */
export function ticks(status) {
  const lines = TICKS[status].map((d) => svg('path', { d }));
  return svg('svg', { class: `ticks ticks-${status}`, viewBox: '0 0 16 16', 'aria-hidden': 'true' }, ...lines);
}

const CROWN =
  'M16 3.5c7 0 12 4 12 9.2s-5 9-12 9c-1.3 0-2.6-.1-3.7-.4L7.5 24l.8-4.2C5.6 18.2 4 15.7 4 12.7 4 7.5 9 3.5 16 3.5z';

/** The sign of the house: a tree to talk under. */
export function mark() {
  return svg(
    'svg',
    { class: 'mark', viewBox: '0 0 32 32', 'aria-hidden': 'true' },
    svg('path', { class: 'mark-crown', d: CROWN }),
    svg('path', { class: 'mark-root', d: 'M16 22v6.5M12 28.5h8' }),
    svg('path', { class: 'mark-trunk', d: 'M16 12.5V21M16 19l4.5-4.2M16 16.5l-3.8-3.3' }),
  );
}
