// Keyboards can scroll a block of code only if it takes the focus. Screen readers tell the side columns apart by name.
for (const block of document.querySelectorAll(".highlight pre")) {
  if (block.scrollWidth > block.clientWidth) block.tabIndex = 0;
}
document.querySelector("aside.sidebar-drawer")?.setAttribute("aria-label", "Pages");
document.querySelector("aside.toc-drawer")?.setAttribute("aria-label", "On this page");
