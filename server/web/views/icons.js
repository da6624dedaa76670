import { svg } from './dom.js';

const PATHS = {
  back: ['M15 5l-7 7 7 7'],
  plus: ['M12 5v14', 'M5 12h14'],
  compose: [
    'M19.5 13v5.5a1 1 0 0 1-1 1h-13a1 1 0 0 1-1-1v-13a1 1 0 0 1 1-1H11',
    'M10 14l.5-2.7 7.7-7.7 2.2 2.2-7.7 7.7z',
  ],
  send: ['M12 19V5.5', 'M6 11l6-6 6 6'],
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
  people: [
    'M9 11.5a3.4 3.4 0 1 0 0-6.8a3.4 3.4 0 0 0 0 6.8z',
    'M2.8 19.3c.5-3.4 3-5.2 6.2-5.2s5.7 1.8 6.2 5.2',
    'M15.5 5.1a3.4 3.4 0 0 1 0 6.2',
    'M17.8 14.6c1.9.7 3.1 2.3 3.4 4.7',
  ],
  person: ['M12 11.5a3.7 3.7 0 1 0 0-7.4a3.7 3.7 0 0 0 0 7.4z', 'M5 19.8c.6-3.7 3.4-5.7 7-5.7s6.4 2 7 5.7'],
  addPerson: [
    'M10 11.5a3.5 3.5 0 1 0 0-7a3.5 3.5 0 0 0 0 7z',
    'M3.5 19.5c.5-3.5 3.1-5.4 6.5-5.4s6 1.9 6.5 5.4',
    'M19 8v6',
    'M16 11h6',
  ],
  info: ['M12 11v5.5', 'M12 7.6h.01', 'M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17'],
  attach: [
    'M19.5 11.5l-7.7 7.7a4.8 4.8 0 0 1-6.8-6.8l8.2-8.2a3.2 3.2 0 0 1 4.5 4.5l-8.1 8.1a1.6 1.6 0 0 1-2.3-2.3l7.3-7.3',
  ],
  file: ['M7 3.5h7l4.5 4.5v12.5H7z', 'M13.8 3.7V8.2h4.5'],
  download: ['M12 4.5v10.5', 'M7.5 11l4.5 4.5 4.5-4.5', 'M5 19.5h14'],
  forward: ['M9 5l7 7-7 7'],
  bell: ['M6.5 16.5c1-1.2 1.2-2.7 1.2-5.4a4.3 4.3 0 0 1 8.6 0c0 2.7.2 4.2 1.2 5.4z', 'M10.4 19.3a1.8 1.8 0 0 0 3.2 0'],
  mute: [
    'M6.5 16.5c1-1.2 1.2-2.7 1.2-5.4',
    'M9.2 7.7a4.3 4.3 0 0 1 7.1 3.4c0 1.5.06 2.6.3 3.5',
    'M6.5 16.5h9.5',
    'M10.4 19.3a1.8 1.8 0 0 0 3.2 0',
    'M4.5 4.5l15 15',
  ],
  archive: ['M4 5h16v4H4z', 'M5.5 9v10h13V9', 'M10 13h4'],
  unread: ['M20 11.5A8 8 0 0 1 8.6 18.7L4 20l1.4-4.2A8 8 0 0 1 13 3.6', 'M18.5 5.5h.01'],
  sun: [
    'M12 8.2a3.8 3.8 0 1 0 0 7.6a3.8 3.8 0 0 0 0-7.6z',
    'M12 3v1.7',
    'M12 19.3V21',
    'M3 12h1.7',
    'M19.3 12H21',
    'M5.6 5.6l1.2 1.2',
    'M17.2 17.2l1.2 1.2',
    'M18.4 5.6l-1.2 1.2',
    'M6.8 17.2l-1.2 1.2',
  ],
  moon: ['M19.5 14.2A8 8 0 0 1 9.8 4.5a8 8 0 1 0 9.7 9.7z'],
  device: ['M4 5h16v11H4z', 'M9 20h6', 'M12 16v4'],
  hidden: [
    'M4 4l16 16',
    'M9.8 6.1A9 9 0 0 1 12 5.8c4.2 0 7.2 2.8 8.7 6.2a12 12 0 0 1-2.4 3.5',
    'M6.4 7.6A12 12 0 0 0 3.3 12c1.5 3.4 4.5 6.2 8.7 6.2a9 9 0 0 0 4-.9',
    'M10 10a2.8 2.8 0 0 0 4 4',
  ],
  clock: ['M12 4a8 8 0 1 0 0 16a8 8 0 1 0 0-16', 'M12 8v4.3l2.8 1.7'],
};

/** A line icon; decoration only, so the control it sits in must say what it does. */
export function icon(name, className = 'icon') {
  const lines = PATHS[name].map((d) => svg('path', { d }));
  const classes = name === 'more' ? `${className} icon-dots` : className;
  return svg('svg', { class: classes, viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false' }, ...lines);
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
