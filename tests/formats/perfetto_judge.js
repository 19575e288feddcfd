// node perfetto_judge.js WEB_DIST REQUEST ANSWER: Perfetto's trace processor, made for a browser's worker, run by node.
const fs = require("fs"), path = require("path"), vm = require("vm");
const { MessageChannel } = require("worker_threads");
const [web, request, answer] = process.argv.slice(2);
const read = (url) => fs.readFileSync(path.join(web, path.basename(String(url))));

// what it takes a browser's worker to have
globalThis.self = globalThis;
globalThis.WorkerGlobalScope = class {};
globalThis.importScripts = () => {};
globalThis.location = { href: `file://${web}/`, pathname: "/" };
globalThis.fetch = async (url) => new Response(read(url), { headers: { "Content-Type": "application/wasm" } });
globalThis.XMLHttpRequest = class {
  open(method, url) { this.url = url; }
  send() { this.response = read(this.url); }
};
globalThis.postMessage = (message) => console.error(message);
Object.defineProperty(process, "type", { value: "renderer" }); // or it sees that this is node, and refuses
vm.runInThisContext(read("engine_bundle.js").toString());

const { port1, port2 } = new MessageChannel();
const parts = [];
port1.onmessage = (event) => parts.push(Buffer.from(event.data));
globalThis.onmessage({ data: port2 });
port1.postMessage(new Uint8Array(fs.readFileSync(request)));
let before = 0;
setInterval(() => { // it answers without a pause: when nothing more comes, that was all
  if (parts.length && parts.length === before) {
    fs.writeFileSync(answer, Buffer.concat(parts));
    process.exit(0);
  }
  before = parts.length;
}, 500);
