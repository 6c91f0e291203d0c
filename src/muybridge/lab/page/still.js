/** A picture of any kind -> the first frame of a clip. */

/**
 * The largest centred part of a picture that has the clip's proportions, in its size; transparent parts lie over white.
 * @param {Blob | ImageBitmapSource} source
 * @returns {Promise<{canvas: HTMLCanvasElement, pixels: Float32Array}>} pixels (3, height, width) in [-1, 1]
 */
export async function readStill(source, width, height) {
  let picture;
  try {
    picture = await createImageBitmap(source);
  } catch {
    throw new Error("this is no picture that the browser can read, or it is damaged: save it as PNG or JPEG and try again");
  }
  const scale = Math.min(picture.width / width, picture.height / height);
  const [w, h] = [width * scale, height * scale];
  let canvas = draw(picture, (picture.width - w) / 2, (picture.height - h) / 2, w, h, w, h);
  while (canvas.width > 2 * width) {
    // A browser looks at a few pixels only; halving lets every pixel have its say.
    canvas = draw(canvas, 0, 0, canvas.width, canvas.height, canvas.width / 2, canvas.height / 2);
  }
  canvas = draw(canvas, 0, 0, canvas.width, canvas.height, width, height);
  picture.close();
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const size = width * height;
  const pixels = Float32Array.from({ length: 3 * size }, (_, i) => data[4 * (i % size) + Math.floor(i / size)] / 127.5 - 1);
  return { canvas, pixels };
}

function draw(source, x, y, w, h, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width));
  canvas.height = Math.max(1, Math.round(height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, x, y, w, h, 0, 0, canvas.width, canvas.height);
  return canvas;
}
