// Ada follows Bob, who comes, is away, touches his device, hides, shows himself and goes.
import { Device, report } from './client_device.mjs';

const [url, hers, his] = process.argv.slice(2);

const ada = await Device.of(url, hers);
const is = (status) => ada.until(() => ada.presenceOf('bob')?.status === status, `bob is ${status}`);
const knows = (status) => bob.until(() => bob.presenceOf('bob')?.status === status, `he is ${status}`);

// Four may be followed, herself among them: who was named longest ago is let go.
ada.follow(['long-ago', 'before', 'nobody']);
ada.follow(['bob', 'nobody']);
await is('offline');
const followed = ['long-ago', 'before', 'nobody', 'bob', 'ada'].filter((id) => ada.presenceOf(id));

const bob = await Device.of(url, his);
await is('active');
await bob.setStatus('away');
await is('away');
await knows('away');
bob.stir();
await is('active');
await bob.setStatus('invisible');
await is('offline');
await knows('invisible');
bob.stir();

// She asks again when she comes back.
ada.disconnect();
ada.connect();
await ada.hears('ready', ({ again }) => again);
const shown = [await bob.setStatus('away'), await bob.setStatus('active')];
await is('active');
bob.disconnect();
await is('offline');
report({ followed, shown, last: ada.presenceOf('bob').last_active_at, nobody: ada.presenceOf('nobody') });
process.exit(0);
