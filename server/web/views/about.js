import { t } from '../i18n/index.js';
import { rightsIn } from '../rights.js';
import { avatar, faces, withDot } from './avatar.js';
import { confirm, openDialog } from './dialog.js';
import { h, reconcile } from './dom.js';
import { icon } from './icons.js';
import { openMenu } from './menu.js';
import { toastError } from './notices.js';
import { leave } from './options.js';
import { addPeopleDialog } from './people.js';
import { errorText, facesOf, nameOf, personOf, presenceIn, presenceText, roleText, titleOf } from './words.js';

const FOREVER = '2100-01-01T00:00:00Z';
const FOLLOWED = 200; // of so many people it is shown how they are
const MEMBER_ROLES = ['admin', 'member', 'read_only'];

/** About a conversation: its name, who is in it, and how it behaves for this person. It follows what others change. */
export class AboutDialog {
  #palabre;
  #id;
  #actions;
  #dialog;
  #rows = new Map();
  #head = h('div', { class: 'about-head' });
  #headSignature = '';
  #switches = h('div', { class: 'about-switches' });
  #peopleHeading = h('h3', { class: 'dialog-heading' });
  #add = h('button', { class: 'person is-action', type: 'button', onclick: () => this.#addPeople() });
  #people = h('ul', { class: 'about-people' });
  #foot = h('footer', { class: 'about-foot' });
  #problem = h('p', { class: 'problem about-problem', role: 'alert', hidden: true });

  /** `actions`: left(id), talkTo(userId). */
  constructor(palabre, id, actions) {
    this.#palabre = palabre;
    this.#id = id;
    this.#actions = actions;
    const sign = h('span', { class: 'avatar avatar-medium avatar-empty', 'aria-hidden': 'true' }, icon('addPerson'));
    this.#add.append(sign, h('span', { class: 'person-name' }, t('about.add')));
    this.#dialog = openDialog(
      t('about.title'),
      h(
        'div',
        { class: 'dialog-scroll' },
        this.#head,
        this.#problem,
        this.#switches,
        h('section', {}, this.#peopleHeading, this.#add, this.#people),
        this.#foot,
      ),
    );
    const stop = new AbortController();
    for (const type of ['change', 'presence'])
      palabre.addEventListener(type, () => this.#draw(), { signal: stop.signal });
    this.#dialog.addEventListener('close', () => stop.abort());
    this.#draw();
    palabre.loadPeople(id).then(
      () => this.#draw(),
      (error) => this.#fail(error),
    );
  }

  get #conversation() {
    return this.#palabre.store.conversation(this.#id);
  }

  #draw() {
    const conversation = this.#conversation;
    const rights = rightsIn(this.#palabre, conversation);
    this.#drawHead(conversation, rights);
    this.#drawSwitches(conversation);
    this.#drawPeople(conversation, rights);
    if (rights.leave !== this.#foot.hasChildNodes())
      this.#foot.replaceChildren(...(rights.leave ? [this.#leaveButton()] : []));
  }

  // Name

  #drawHead(conversation, rights) {
    const { store } = this.#palabre;
    const title = titleOf(store, conversation);
    const shown = facesOf(store, conversation);
    const presence = presenceIn(this.#palabre, conversation);
    const signature = JSON.stringify([title, shown, rights.rename, presence]);
    if (signature === this.#headSignature) return;
    this.#headSignature = signature;
    const name = h('p', { class: 'about-name', dir: 'auto' }, title);
    const rename = h(
      'button',
      { class: 'icon-button', type: 'button', 'aria-label': t('about.rename'), title: t('about.rename') },
      icon('edit'),
    );
    rename.addEventListener('click', () => this.#rename());
    this.#head.replaceChildren(
      withDot(faces(shown, 'huge'), presence?.status),
      h('div', { class: 'about-title' }, name, rights.rename ? rename : null),
      this.#subtitle(conversation),
    );
  }

  #subtitle(conversation) {
    const [other] = conversation.others;
    const isDirect = conversation.info?.type === 'direct';
    const role = isDirect && other ? personOf(this.#palabre.store, other).role : null;
    const here = isDirect ? presenceText(presenceIn(this.#palabre, conversation)) : '';
    const known = [role && roleText(role), here].filter(Boolean).join(' · ');
    const text = isDirect ? known : t('thread.people', { count: conversation.peopleCount });
    return text ? h('p', { class: 'about-subtitle' }, text) : null;
  }

  #rename() {
    const field = h('input', {
      class: 'input',
      type: 'text',
      dir: 'auto',
      maxlength: '200',
      'aria-label': t('about.name'),
      value: this.#conversation.info?.title ?? '',
    });
    const back = () => {
      this.#headSignature = '';
      this.#draw();
      this.#head.querySelector('button')?.focus();
    };
    const save = async (event) => {
      event.preventDefault();
      const title = field.value.trim();
      if (title === '') return field.focus();
      await this.#try(() => this.#palabre.rename(this.#id, title));
      back();
    };
    const cancel = h('button', { class: 'quiet-button', type: 'button', onclick: back }, t('dialog.cancel'));
    const submit = h('button', { class: 'primary-button', type: 'submit' }, t('composer.save'));
    const form = h('form', { class: 'about-rename', onsubmit: save }, field, cancel, submit);
    form.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      event.preventDefault(); // it would close the dialog
      event.stopPropagation();
      back();
    });
    this.#head.querySelector('.about-title').replaceChildren(form);
    field.focus();
    field.select();
  }

  // What only this person sees

  #drawSwitches(conversation) {
    const { id, isMuted, isArchived } = conversation;
    const isPinned = Boolean(conversation.my?.is_pinned);
    const palabre = this.#palabre;
    const given = [
      ['mute', 'mute', isMuted, (on) => palabre.mute(id, on ? FOREVER : null)],
      ['pin', 'pin', isPinned, (on) => palabre.pinConversation(id, on)],
      ['archive', 'archive', isArchived, (on) => palabre.archive(id, on)],
    ];
    const signature = JSON.stringify(given.map(([, , isOn]) => isOn));
    if (this.#switches.dataset.signature === signature) return;
    this.#switches.dataset.signature = signature;
    const held = this.#switches.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    this.#switches.replaceChildren(...given.map((one) => this.#switch(...one)));
    if (held) this.#switches.querySelector(`[data-name="${held}"]`)?.focus();
  }

  #switch(name, sign, isOn, act) {
    const onclick = () => this.#try(() => act(!isOn));
    return h(
      'button',
      { class: 'switch', type: 'button', role: 'switch', 'aria-checked': String(isOn), 'data-name': name, onclick },
      icon(sign),
      h('span', { class: 'switch-label' }, t(`about.${name}`)),
      h('span', { class: 'switch-track', 'aria-hidden': 'true' }, h('i', {})),
    );
  }

  // People

  #drawPeople(conversation, rights) {
    const { store } = this.#palabre;
    const present = [...conversation.participants.values()].filter((row) => row.is_active !== false);
    const people = present.map((row) => ({ row, user: personOf(store, row), isMe: row.user.id === store.me?.id }));
    this.#palabre.follow(present.map((row) => row.user.id).slice(0, FOLLOWED));
    people.sort((a, b) => b.isMe - a.isMe || nameOf(a.user).localeCompare(nameOf(b.user)));
    this.#peopleHeading.textContent = t('thread.people', { count: conversation.peopleCount });
    this.#add.hidden = !rights.add;
    reconcile(
      this.#people,
      people.map((one) => this.#personRow(conversation, rights, one)),
      this.#rows,
    );
  }

  #personRow(conversation, rights, { row, user, isMe }) {
    const shownRole = conversation.info?.type === 'direct' ? null : row.role;
    const hasMenu = !isMe && conversation.isKnown && (conversation.info?.type !== 'direct' || rights.remove);
    const presence = isMe ? null : this.#palabre.presenceOf(user.id);
    const words = [user.role && roleText(user.role), presenceText(presence)].filter(Boolean).join(' · ');
    const build = () =>
      h(
        'li',
        { class: 'person' },
        withDot(avatar(user, 'medium'), presence?.status),
        h(
          'span',
          { class: 'person-words' },
          h('span', { class: 'person-name', dir: 'auto' }, nameOf(user), isMe ? ` (${t('message.you')})` : ''),
          words ? h('span', { class: 'person-role' }, words) : null,
        ),
        shownRole && shownRole !== 'member' ? h('span', { class: 'tag' }, t(`membership.${shownRole}`)) : null,
        hasMenu ? this.#personMenu(rights, row, user) : null,
      );
    const signature = JSON.stringify([user.name, user.avatar_url, words, presence?.status, shownRole, isMe, hasMenu, rights]);
    return { key: row.user.id, signature, build };
  }

  #personMenu(rights, row, user) {
    const name = nameOf(user);
    const label = t('about.personMenu', { name });
    const role = (one) => ({
      label: t(`membership.make.${one}`),
      checked: row.role === one,
      isOneOf: true,
      action: () => this.#try(() => this.#palabre.setRole(this.#id, user.id, one)),
    });
    const talk = { label: t('people.direct', { name }), icon: 'compose', action: () => this.#talkTo(user.id) };
    const remove = { label: t('about.remove'), icon: 'trash', isDanger: true, action: () => this.#remove(user) };
    const entries = [
      talk,
      ...(rights.setRole ? [null, ...MEMBER_ROLES.map(role)] : []),
      ...(rights.remove ? [null, remove] : []),
    ];
    const props = { class: 'icon-button', type: 'button', 'aria-label': label, title: label, 'aria-haspopup': 'menu' };
    return h('button', { ...props, onclick: (event) => openMenu(event.currentTarget, entries) }, icon('more'));
  }

  #addPeople() {
    addPeopleDialog(this.#palabre, this.#conversation);
  }

  #talkTo(userId) {
    this.#dialog.close();
    this.#actions.talkTo(userId);
  }

  async #remove(user) {
    const name = nameOf(user);
    const isSure = await confirm(t('remove.title', { name }), t('remove.lead'), t('remove.confirm'));
    if (!isSure) return;
    await this.#try(() => this.#palabre.removePerson(this.#id, user.id));
    // The button that was pressed has gone with the person.
    if (!this.#dialog.contains(document.activeElement)) this.#add.focus();
  }

  #leaveButton() {
    const onclick = () =>
      leave(this.#palabre, this.#id, {
        left: (id) => {
          this.#dialog.close();
          this.#actions.left(id);
        },
      });
    return h(
      'button',
      { class: 'person is-action is-danger', type: 'button', onclick },
      icon('leave'),
      t('option.leave'),
    );
  }

  async #try(act) {
    this.#problem.hidden = true;
    try {
      await act();
    } catch (error) {
      if (this.#dialog.open) this.#fail(error);
      else toastError(error);
    }
  }

  #fail(error) {
    this.#problem.hidden = false;
    this.#problem.replaceChildren(icon('alert'), errorText(error));
  }
}
