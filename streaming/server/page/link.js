// A stream that outlives its connection: it reconnects, resumes by token, and sends again what came after the token.

const FIRST_WAIT = 500, LONGEST_WAIT = 8000, SAVE_EVERY = 400;

export class Link {
  // `on` has ready(info), answer(message, request), saved(token, unsaved requests), rewind(unsaved requests),
  // refused(text) and lost(text). `token` is of an earlier visit, or null.
  constructor(on, token) {
    this.on = on;
    this.token = token;
    this.journal = [];  // requests since the token
    this.pending = [];  // requests without an answer, with what is to be known of each
    this.setting = null; // what a new connection has to be told before anything else
    this.epoch = 0;     // counts restarts: answers to what came before one are not wanted any more
    this.wait = FIRST_WAIT;
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(`${scheme}//${location.host}/stream?scores=1`);
    this.socket.onmessage = (event) => this.receive(JSON.parse(event.data));
    this.socket.onclose = (event) => this.closed(event);
    this.isOpen = false;
  }

  // A request is an object of the protocol, or an ArrayBuffer.
  send(request) {
    this.journal.push(request);
    if (this.isOpen) this.put(request);
    this.timer ??= setTimeout(() => this.save(), SAVE_EVERY);
  }

  // Holds for all that comes after it, also where the connection is another.
  set(setting) {
    this.setting = setting;
    if (this.isOpen) this.put(setting);
  }

  restart() {
    this.token = null;
    this.journal = [];
    this.epoch += 1;
    if (this.isOpen) this.put({ type: "reset" });
  }

  save() {
    this.timer = null;
    if (this.isOpen && this.info.model.resumable) this.put({ type: "save" });
  }

  put(request) {
    this.pending.push({ request, epoch: this.epoch, sent: this.journal.length });
    this.socket.send(request instanceof ArrayBuffer ? request : JSON.stringify(request));
  }

  receive(message) {
    if (message.type === "ready") {
      this.info = message;
      this.on.ready(message);
      if (this.token) this.put({ type: "resume", token: this.token });
      else this.begin();
      return;
    }
    const isLast = message.type !== "output" || message.done;
    const isFarewell = message.type === "saved" && this.pending[0]?.request.type !== "save";
    const { request, epoch, sent } = isFarewell
      ? { request: { type: "save" }, epoch: this.epoch, sent: this.journal.length }
      : isLast ? this.pending.shift() : this.pending[0];
    if (epoch !== this.epoch) return;
    if (request.type === "resume") this.resumed(message);
    else if (message.type === "saved") this.keep(message.token, sent);
    else if (request.type !== "save") this.on.answer(message, request);
  }

  resumed(message) {
    if (message.type === "error") {
      this.token = null;
      this.journal = [];
      this.on.refused(message.message);
    }
    this.begin();
  }

  begin() {
    this.on.rewind(this.journal);
    this.isOpen = true;
    this.wait = FIRST_WAIT;
    if (this.setting) this.put(this.setting);
    const again = this.journal.splice(0);
    again.forEach((request) => this.send(request));
  }

  keep(token, sent) {
    this.token = token;
    this.journal.splice(0, sent);
    // What waits for an answer counts from the new token on.
    this.pending.forEach((one) => { one.sent -= sent; });
    this.on.saved(token, this.journal);
  }

  async closed(event) {
    this.isOpen = false;
    this.pending = [];
    let reason = event.reason;
    if (!reason) {
      const health = await fetch("healthz").then((answer) => answer.json()).catch(() => null);
      reason = health === null ? "the server cannot be reached" : health.status === "ok" ? "" : health.status;
    }
    this.on.lost(reason);
    setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }
}
