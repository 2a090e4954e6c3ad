const rules = document.querySelector("#rules"), filter = document.querySelector("#filter");
if (filter) filter.oninput = () => { for (const row of rules.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(filter.value.toLowerCase()); };
const value = (row, column) => { const cell = row.cells[column]; return cell.dataset.n === undefined ? cell.textContent : Number(cell.dataset.n); };
for (const button of document.querySelectorAll("#rules th button")) button.onclick = () => {
  const head = button.parentNode, column = head.cellIndex, body = rules.tBodies[0], down = head.ariaSort === "descending" ? 1 : -1;
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.ariaSort = down < 0 ? "descending" : "ascending";
  body.append(...[...body.rows].sort((a, b) => (value(a, column) > value(b, column) ? 1 : -1) * down));
};
