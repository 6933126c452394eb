// The page that asks an index. It talks to the API of this server alone and keeps the question in the address, so that
// a search can be sent to somebody else.

const HINTS = {
  sentence: "One thing that happens: the moments that show it.",
  paragraph: "Several things in their order, one a line: the videos in which they happen in this order, and where.",
  like: "A video of this index by name: the ones most like it.",
};
const by = (id) => document.getElementById(id);
const form = by("question"), text = by("text"), video = by("video"), hits = by("hits"), status = by("status");
let index = {plays_media: false};
let asked = 0;

async function call(path, body) {
  const options = body && {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const response = await fetch(path, options || {});
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error || `the server answered ${response.status}`);
  return answer;
}

function clock(seconds) {
  const tenths = Math.round(10 * seconds), whole = Math.floor(tenths / 10);  // rounded first: none reads 0:60.0
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return (hours ? `${hours}:${two(minutes)}` : `${minutes}`) + `:${two(whole % 60)}.${tenths % 10}`;
}

const span = (start, end) => `${clock(start)} – ${clock(end)}`;
const kind = () => new FormData(form).get("kind");
const question = () => (kind() === "like" ? video : text).value.trim();

function showKind() {
  const like = kind() === "like";
  video.hidden = !like;
  text.hidden = like;
  text.rows = kind() === "paragraph" ? 5 : 1;
  by("hint").textContent = HINTS[kind()];
}

// Enter asks; in a paragraph it begins the next sentence, and Ctrl or Cmd with Enter asks.
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || (kind() === "paragraph" && !event.ctrlKey && !event.metaKey)) return;
  event.preventDefault();
  form.requestSubmit();
});

form.addEventListener("change", showKind);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!question()) return;
  history.pushState(null, "", "#" + new URLSearchParams({kind: kind(), q: question()}));
  ask();
});

let typing;
video.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    const names = await call("/api/videos?" + new URLSearchParams({part: video.value})).catch(() => []);
    by("videos").replaceChildren(...names.map((name) => new Option(name, name)));
  }, 150);
});

function readAddress() {
  const address = new URLSearchParams(location.hash.slice(1));
  const wanted = address.get("kind") in HINTS ? address.get("kind") : "sentence";
  form.elements.kind.value = wanted;
  (wanted === "like" ? video : text).value = address.get("q") || "";
  showKind();
  if (question()) ask();
  else hits.replaceChildren();
}
window.addEventListener("popstate", readAddress);

async function ask() {
  const mine = ++asked, button = form.querySelector("[type=submit]");
  const body = kind() === "like" ? {video: question()} : {text: question()};
  status.textContent = "searching …";
  button.disabled = true;
  try {
    const started = performance.now(), answer = await call(`/api/${kind()}`, body);
    if (mine !== asked) return;
    const took = ((performance.now() - started) / 1000).toFixed(2);
    status.textContent = answer.hits.length ? `${answer.hits.length} hits in ${took} s` : "no hit";
    hits.replaceChildren(...answer.hits.map((hit) => (hit.sentences ? storyCard(hit) : momentCard(hit))));
  } catch (error) {
    if (mine !== asked) return;
    status.textContent = error.message;
    hits.replaceChildren();
  } finally {
    if (mine === asked) button.disabled = false;
  }
}

const copy = (id) => by(id).content.firstElementChild.cloneNode(true);

function momentCard(hit) {
  const card = copy("moment"), picture = card.querySelector("img");
  card.querySelector("h2").textContent = hit.path;
  card.querySelector(".facts").textContent = `${span(hit.start_s, hit.end_s)} · score ${hit.score.toFixed(3)}`;
  card.querySelector(".said").textContent = hit.text;
  picture.addEventListener("error", () => picture.classList.add("none"), {once: true});
  const middle = new URLSearchParams({time_s: (hit.start_s + hit.end_s) / 2});
  picture.src = `/thumbnails/${hit.video_id}?${middle}`;
  const button = card.querySelector(".picture");
  button.setAttribute("aria-label", `Play ${hit.path} from ${clock(hit.start_s)}`);
  if (index.plays_media) {
    button.addEventListener("click", () => {
      card.classList.add("playing");
      play(card, hit.video_id, hit.start_s, hit.end_s);
      button.remove();
    });
  } else {
    button.disabled = true;
    card.querySelector(".play").remove();
  }
  card.querySelector(".similar").addEventListener("click", () => {
    form.elements.kind.value = "like";
    video.value = hit.path;
    showKind();
    form.requestSubmit();
    scrollTo({top: 0, behavior: "smooth"});
  });
  return card;
}

function storyCard(hit) {
  const card = copy("story"), track = card.querySelector(".track"), list = card.querySelector(".sentences");
  const found = hit.sentences.filter((sentence) => sentence.found).length;
  card.querySelector("h2").textContent = hit.path;
  card.querySelector(".facts").textContent =
    `score ${hit.score.toFixed(3)} · ${found} of ${hit.sentences.length} sentences found`;
  track.setAttribute("aria-label", "where each sentence lies in the video");
  const start = (sentence) => () => index.plays_media && play(card, hit.video_id, sentence.start_s, sentence.end_s);
  for (const sentence of hit.sentences) {
    const item = document.createElement("li"), button = document.createElement("button");
    const time = document.createElement("time"), words = document.createElement("span");
    time.textContent = span(sentence.start_s, sentence.end_s);
    words.textContent = sentence.found ? sentence.text : `${sentence.text} (not found)`;
    button.type = "button";
    button.classList.toggle("lost", !sentence.found);
    button.append(time, words);
    button.addEventListener("click", start(sentence));
    item.append(button);
    list.append(item);
  }
  drawTrack(track, hit, start);
  return card;
}

async function drawTrack(track, hit, start) {
  const facts = await call(`/api/videos/${hit.video_id}`).catch(() => null);
  const end = facts ? facts.end_s : Math.max(...hit.sentences.map((sentence) => sentence.end_s));
  hit.sentences.forEach((sentence, number) => {
    const bar = document.createElement("button");
    bar.type = "button";
    bar.tabIndex = -1;
    bar.title = `${span(sentence.start_s, sentence.end_s)}  ${sentence.text}`;
    bar.classList.toggle("lost", !sentence.found);
    bar.style.left = `${(100 * sentence.start_s) / end}%`;
    bar.style.width = `${(100 * (sentence.end_s - sentence.start_s)) / end}%`;
    bar.style.setProperty("--strength", number % 2 ? 0.65 : 1);
    bar.addEventListener("click", start(sentence));
    track.append(bar);
  });
}

// The file itself if the browser can play it; else the moment, which the server makes into an MP4.
function play(card, videoId, start, end) {
  card.querySelector("video")?.remove();
  const player = document.createElement("video");
  player.controls = player.autoplay = player.muted = true;
  player.playsInline = true;
  let whole = true;
  const useMoment = () => {
    if (!whole) return;
    whole = false;
    const times = new URLSearchParams({start_s: start, end_s: Math.min(Math.max(end, start + 1), start + 120)});
    player.src = `/moments/${videoId}?${times}`;
  };
  player.addEventListener("error", useMoment);
  // A file whose sound plays and whose pictures do not has no width.
  player.addEventListener("loadedmetadata", () => player.videoWidth || useMoment());
  player.addEventListener("timeupdate", () => whole && player.currentTime >= end && !player.dataset.on && pauseOnce(player));
  player.src = `/media/${videoId}#t=${start}`;
  card.prepend(player);
}

function pauseOnce(player) {
  player.dataset.on = "true";
  player.pause();
}

async function begin() {
  try {
    index = await call("/api/index");
  } catch (error) {
    status.textContent = error.message;
    return;
  }
  by("about").textContent =
    `${index.num_videos} videos, ${index.num_windows} windows of ${index.window_s} s · encoder ${index.encoder} · features ${index.features}`;
  by("random").hidden = !index.random_weights;
  readAddress();
}
begin();
