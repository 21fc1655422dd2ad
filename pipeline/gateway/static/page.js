"use strict";
// Uploads files straight to the bucket, with URLs that the gateway signs, and watches their tasks.

const POLL_MS = 500;
const field = (id) => document.getElementById(id);

async function ask(method, path, body) {
  const headers = {};
  if (field("token").value) headers.Authorization = `Bearer ${field("token").value}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.json().catch(() => null);  // null without a body, and from a proxy
  if (!response.ok) throw new Error(answer?.error ?? `the gateway answered ${response.status}`);
  return answer;
}

async function sha256(blob) {
  if (!crypto.subtle) throw new Error("checksums need https: open this page by its https:// address");
  const digest = await crypto.subtle.digest("SHA-256", await blob.arrayBuffer());
  return btoa(String.fromCharCode(...new Uint8Array(digest)));
}

function put(request, blob, onProgress) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();  // fetch reports no progress of an upload
    sending.open(request.method, request.url);
    for (const [name, value] of Object.entries(request.headers)) sending.setRequestHeader(name, value);
    sending.upload.onprogress = (event) => onProgress(event.loaded);
    sending.onload = () => (sending.status < 300 ? resolve() : reject(new Error(`the bucket answered ${sending.status}`)));
    sending.onerror = () => reject(new Error("the bucket cannot be reached"));
    sending.send(blob);
  });
}

async function upload(file, onProgress) {
  const about = { name: file.name, media_type: file.type || "application/octet-stream", size_bytes: file.size };
  const { part_bytes: partBytes } = await ask("GET", "limits");
  if (file.size <= partBytes) about.sha256 = await sha256(file);  // each part of a larger one has its own
  const begun = await ask("POST", "uploads", about);
  if (begun.request) await put(begun.request, file, onProgress);
  else await uploadParts(file, begun, onProgress);
  return begun;
}

async function uploadParts(file, begun, onProgress) {
  for (let start = 0, number = 1; start < file.size; start += begun.part_bytes, number += 1) {
    const part = file.slice(start, start + begun.part_bytes, "");
    const about = { key: begun.key, number, size_bytes: part.size, sha256: await sha256(part) };
    const request = await ask("POST", `uploads/${encodeURIComponent(begun.upload_id)}/parts`, about);
    await put(request, part, (loaded) => onProgress(start + loaded));
  }
  await ask("POST", `uploads/${encodeURIComponent(begun.upload_id)}/complete`, { key: begun.key, size_bytes: file.size });
}

async function finished(taskId) {
  for (;;) {
    const task = await ask("GET", `tasks/${taskId}`);
    if (!["PENDING", "RECEIVED", "STARTED", "RETRY"].includes(task.state)) return task;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

const sizeOf = (bytes) =>
  bytes < 1024 ? `${bytes} B` : bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(0)} KiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function row(file) {
  const item = element("li", "");
  const head = element("div", "head");
  const state = element("span", "state", "waiting");
  const bar = element("progress", "");
  bar.setAttribute("aria-label", `upload of ${file.name}`);
  bar.max = file.size || 1;
  bar.value = 0;
  head.append(element("span", "name", file.name), element("span", "size", sizeOf(file.size)), state);
  item.append(head, bar);
  field("uploads").prepend(item);
  return { item, state, bar };
}

async function handle(file) {
  const { item, state, bar } = row(file);
  try {
    state.textContent = "uploading";
    const begun = await upload(file, (loaded) => { bar.value = loaded; });
    bar.value = bar.max;
    state.textContent = "task runs";
    const task = await finished(begun.task_id);
    show(item, state, task);
    await offer(item, begun.key);
  } catch (error) {
    state.textContent = error.message;
    item.className = "failed";
  }
}

function show(item, state, task) {
  const isGood = task.state === "SUCCESS";
  item.className = isGood ? "done" : "failed";
  state.textContent = isGood ? "done" : `${task.state.toLowerCase()}${task.error ? `: ${task.error}` : ""}`;
  if (task.result !== undefined) item.append(element("pre", "result", JSON.stringify(task.result, null, 2)));
}

async function offer(item, key) {
  const link = element("a", "read", "Read the file back");
  link.href = (await ask("GET", `claims/${key.split("/").map(encodeURIComponent).join("/")}/url`)).url;
  item.append(link);
}

const drop = field("drop");
drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  for (const file of event.dataTransfer.files) handle(file);
});
field("files").addEventListener("change", (event) => {
  for (const file of event.target.files) handle(file);
  event.target.value = "";
});
