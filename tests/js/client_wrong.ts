// A program in which every line below the mark is a mistake.
import { io } from 'socket.io-client';
import { Palabre } from 'palabre-client';

const palabre = new Palabre({ io, url: 'http://127.0.0.1:8000' });
const talk = await palabre.open('c');
// mark
palabre.addEventListener('changed', ({ detail }) => console.log(detail.ids));
palabre.addEventListener('removed', ({ detail }) => console.log(detail.why));
new Palabre({ io, url: 8000 });
palabre.send('c');
palabre.fileUrl(talk, 320);
palabre.setRole('c', 'bob', 'boss');
palabre.store.list().push(1);
palabre.upload('a text');
palabre.mute('c');
palabre.request('message:delete', { message_id: 'm', scope: 'all' });
palabre.request('message:dele', {});
palabre.status = 'online';
talk.canRead;
