/** The row of kept clips. */

import { still } from "./player.js";

/**
 * @param {import("./keep.js").Clip[]} clips
 * @param {string} current the id of the one on the screen
 * @param {{open: (clip: any) => void, drop: (clip: any) => void}} heard
 */
export function showShelf(clips, current, heard) {
  const list = document.getElementById("clips");
  list.replaceChildren(...clips.map((clip) => item(clip, clip.id === current, heard)));
  document.getElementById("shelf").hidden = !clips.length;
}

function item(clip, current, heard) {
  const name = clip.wish.prompt || "anything";
  const open = button("open", "", () => heard.open(clip));
  open.setAttribute("aria-label", `Show: ${name}, seed ${clip.wish.seed}`);
  open.setAttribute("aria-current", String(current));
  open.append(still(clip.frames[clip.frames.length >> 1], clip.width, clip.height));
  const words = Object.assign(document.createElement("span"), { textContent: `${name} · seed ${clip.wish.seed}` });
  const drop = button("drop-clip", "Delete", () => heard.drop(clip));
  drop.setAttribute("aria-label", `Delete: ${name}, seed ${clip.wish.seed}`);
  const one = document.createElement("li");
  one.append(open, words, drop);
  return one;
}

function button(name, text, clicked) {
  return Object.assign(document.createElement("button"), { type: "button", className: name, textContent: text, onclick: clicked });
}
